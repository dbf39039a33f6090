/** A TOML editor that lives under the strict content security policy. */

import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands'
import { bracketMatching, HighlightStyle, StreamLanguage, syntaxHighlighting } from '@codemirror/language'
import { toml } from '@codemirror/legacy-modes/mode/toml'
import { lintGutter, setDiagnostics, type Diagnostic } from '@codemirror/lint'
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search'
import { Compartment, EditorState } from '@codemirror/state'
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from '@codemirror/view'
import { tags } from '@lezer/highlight'

import type { ConfigProblem } from '@/api/config_schema'

export interface EditorOptions {
  text: string
  label: string
  isReadOnly: boolean
  /** CodeMirror's own words in the language of the page. */
  phrases: Readonly<Record<string, string>>
  onChange: (text: string) => void
  onSave: () => void
}

export interface CodeEditor {
  setText: (text: string) => void
  setReadOnly: (isReadOnly: boolean) => void
  setProblems: (problems: readonly ConfigProblem[]) => void
  goTo: (line: number) => void
  destroy: () => void
}

const LOOK = EditorView.theme({
  '&': { height: '100%', backgroundColor: 'var(--surface)', color: 'var(--text)', fontSize: 'var(--size-2)' },
  '.cm-scroller': { fontFamily: 'var(--font-mono)', lineHeight: '1.6' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--surface)', color: 'var(--text-muted)', border: '0' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--hover)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    backgroundColor: 'var(--accent-soft)',
  },
  '.cm-selectionMatch, .cm-searchMatch': { backgroundColor: 'var(--sev-warning-soft)' },
  '.cm-panels, .cm-tooltip': {
    backgroundColor: 'var(--surface-raised)',
    color: 'var(--text)',
    borderColor: 'var(--line)',
  },
  '.cm-button, .cm-textfield': {
    backgroundImage: 'none',
    backgroundColor: 'var(--surface-raised)',
    border: '1px solid var(--line-strong)',
    borderRadius: '4px',
    color: 'var(--text)',
  },
  '.cm-lintRange-error': { backgroundImage: 'none', textDecoration: 'underline wavy var(--sev-critical)' },
  '.cm-diagnostic-error': { borderLeftColor: 'var(--sev-critical)' },
})

const COLOURS = HighlightStyle.define([
  { tag: tags.comment, color: 'var(--text-muted)', fontStyle: 'italic' },
  { tag: tags.propertyName, color: 'var(--text)' },
  { tag: tags.string, color: 'var(--curve-2)' },
  { tag: [tags.number, tags.bool, tags.atom], color: 'var(--curve-3)' },
  { tag: tags.bracket, color: 'var(--curve-1)' },
])

/** The whole line that a problem is about; the first one where it is about none. */
function diagnosticOf(state: EditorState, problem: ConfigProblem): Diagnostic {
  const line = state.doc.line(Math.min(Math.max(problem.line ?? 1, 1), state.doc.lines))
  return { from: line.from, to: line.to, severity: 'error', message: `${problem.message} ${problem.remedy}`.trim() }
}

/** Open an editor in ``host``; styles go into its shadow tree, where no policy forbids them. */
export function openEditor(host: HTMLElement, options: EditorOptions): CodeEditor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' })
  const readOnly = new Compartment()
  const locked = (is: boolean) => [EditorState.readOnly.of(is), EditorView.editable.of(!is)]
  let isOurs = false
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        EditorState.phrases.of({ ...options.phrases }),
        lineNumbers(),
        lintGutter(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        history(),
        drawSelection(),
        bracketMatching(),
        highlightSelectionMatches(),
        search({ top: true }),
        StreamLanguage.define(toml),
        syntaxHighlighting(COLOURS),
        LOOK,
        readOnly.of(locked(options.isReadOnly)),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': options.label, tabindex: '0' }),
        keymap.of([
          { key: 'Mod-s', preventDefault: true, run: () => (options.onSave(), true) },
          ...defaultKeymap,
          ...historyKeymap,
          ...searchKeymap,
          indentWithTab,
        ]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !isOurs) options.onChange(update.state.doc.toString())
        }),
      ],
    }),
  })

  return {
    setText(text) {
      if (text === view.state.doc.toString()) return
      isOurs = true
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } })
      isOurs = false
    },
    setReadOnly: (is) => view.dispatch({ effects: readOnly.reconfigure(locked(is)) }),
    setProblems: (problems) =>
      view.dispatch(setDiagnostics(view.state, problems.map((each) => diagnosticOf(view.state, each)))),
    goTo(line) {
      const { from } = view.state.doc.line(Math.min(Math.max(line, 1), view.state.doc.lines))
      view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: 'center' }) })
      view.focus()
    },
    destroy: () => view.destroy(),
  }
}
