/** The server's clock as seen from here; ages never mix the clocks of two machines. */

const WINDOW = 20

/**
 * Estimates server time minus local time from the times told in frames.
 *
 * A frame is at least as old as its journey, so that each sample is too low by the delay: the
 * highest of the newest samples is the best. The window forgets, so that a changed clock is followed.
 */
export class ServerClock {
  private readonly samples: number[] = []

  add(serverMs: number, localMs: number): void {
    this.samples.push(serverMs - localMs)
    if (this.samples.length > WINDOW) this.samples.shift()
  }

  get offsetMs(): number {
    return this.samples.length === 0 ? 0 : Math.max(...this.samples)
  }
}
