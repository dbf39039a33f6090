import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const DAQPLANE = resolve(import.meta.dirname, '../../../.venv/bin/daqplane')
const READY_MS = 40_000
const STOP_MS = 15_000

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const probe = createServer()
    probe.once('error', failed)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => {
        done(typeof address === 'object' && address !== null ? address.port : 0)
      })
    })
  })
}

export interface Options {
  /** Files of DAQ_HOME that are there before the first start, by name. */
  files?: Readonly<Record<string, string>>
}

/** `daqplane run --demo` in a directory of its own, as `make run` starts it. */
export class Installation {
  private constructor(
    private readonly runner: ChildProcess,
    private readonly home: string,
    readonly url: string,
    readonly setupLink: string,
  ) {}

  static async start({ files = {} }: Options = {}): Promise<Installation> {
    // Short, because a unix socket's path holds 107 bytes at most.
    const home = mkdtempSync(join(tmpdir(), 'daq-e2e-'))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(home, name), text)
    const port = await freePort()
    const url = `http://127.0.0.1:${port}/`
    const runner = spawn(DAQPLANE, ['--home', home, 'run', '--demo'], {
      env: { ...process.env, DAQ_HTTP_PORT: String(port), DAQ_LANG: 'en' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const link = await new Promise<string>((done, failed) => {
      let said = ''
      const timer = setTimeout(() => {
        failed(new Error(`no set-up link within ${READY_MS} ms; said: ${said}`))
      }, READY_MS)
      runner.once('exit', (code) => {
        failed(new Error(`daqplane ended with ${code}; said: ${said}`))
      })
      runner.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        const found = /http:\S+setup#\S+/.exec(said)
        if (found && said.includes('Ctrl-C')) {
          clearTimeout(timer)
          done(found[0])
        }
      })
    })
    return new Installation(runner, home, url, link)
  }

  async stop(): Promise<void> {
    await new Promise<void>((done) => {
      const timer = setTimeout(() => this.runner.kill('SIGKILL'), STOP_MS)
      this.runner.once('exit', () => {
        clearTimeout(timer)
        done()
      })
      this.runner.kill('SIGINT')
    })
    rmSync(this.home, { recursive: true, force: true })
  }
}
