/** Why a filter cannot be used: where in its text, and what to do about it. */

export type FilterProblemCode =
  | 'unknown_key'
  | 'unknown_value'
  | 'not_a_number'
  | 'missing_value'
  | 'unclosed_quote'
  | 'unclosed_parenthesis'
  | 'stray_parenthesis'
  | 'missing_term'
  | 'too_deep'

export interface FilterProblem {
  code: FilterProblemCode
  /** Offsets into the text, the end exclusive. */
  start: number
  end: number
  /** What a sentence needs beside the position. */
  params: Readonly<Record<string, string>>
}

/** Thrown inside the parser only; `parseFilter` returns the problem. */
export class FilterError extends Error {
  readonly problem: FilterProblem

  constructor(problem: FilterProblem) {
    super(problem.code)
    this.problem = problem
  }
}

export function refuse(
  code: FilterProblemCode,
  { start, end }: { start: number; end: number },
  params: FilterProblem['params'] = {},
): never {
  throw new FilterError({ code, start, end, params })
}
