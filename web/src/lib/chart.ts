/** uPlot set-up for trends: bands, axes by unit, local time; no Vue in here. */

import type uPlot from 'uplot'

import { formatDate, formatTime } from '@/lib/format'
import type { CurveTable } from '@/lib/series'

export interface ChartCurve {
  series: string
  label: string
  unit: string
  /** 1..4, which is also its colour and dash; 5..8 for the same of an earlier time. */
  index: number
  isStepped: boolean
  table: CurveTable
}

export interface ChartColours {
  curves: readonly string[]
  grid: string
  axis: string
}

/** Four curves, and the same four of an earlier time, all of them dotted. */
const DASHES: readonly (readonly number[])[] = [[], [8, 3], [2, 3], [10, 3, 2, 3], [1, 4], [1, 4], [1, 4], [1, 4]]
const BAND_ALPHA = '26'
const AXIS_FONT = '12px system-ui, sans-serif'
const COLUMNS = 3
const BANDS_UP_TO = 2
/** Wide enough for the names of the lanes above the chart. */
const FIRST_AXIS_PX = 76

/** Time marks: seconds only when zoomed in that far, the date at midnight and at the left edge. */
function timeMarks(_chart: uPlot, splits: number[], _axis: number, _space: number, step: number) {
  let lastDate = ''
  return splits.map((seconds) => {
    const time = formatTime(seconds * 1000)
    const date = formatDate(seconds * 1000)
    const isNewDay = date !== lastDate && (lastDate !== '' || step >= 3_600)
    lastDate = date
    return `${step < 60 ? time : time.slice(0, 5)}${isNewDay ? `\n${date.slice(5)}` : ''}`
  })
}

/** ``#rrggbb`` or ``rgb(…)`` made translucent. */
function translucent(colour: string): string {
  return colour.startsWith('#')
    ? `${colour}${BAND_ALPHA}`
    : colour.replace(/^rgba?\(([^)]+)\)$/, 'rgb($1 / 15%)').replaceAll(',', ' ')
}

const scaleOf = (unit: string) => `unit ${unit}`

/** The values of a scale with some air, also when the line is flat. */
function paddedRange(_chart: uPlot, min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1]
  const air = (max - min || Math.abs(max) || 1) * 0.08
  return [min - air, max + air]
}

function valueAxes(curves: readonly ChartCurve[], colours: ChartColours): uPlot.Axis[] {
  const units = [...new Set(curves.map((curve) => curve.unit))]
  return units.map((unit, position) => {
    const owners = curves.filter((curve) => curve.unit === unit)
    const own = owners.length === 1 ? colours.curves[(owners[0]?.index ?? 1) - 1] : undefined
    return {
      scale: scaleOf(unit),
      side: position % 2 === 0 ? 3 : 1,
      size: position === 0 ? FIRST_AXIS_PX : 52,
      stroke: units.length > 1 && own ? own : colours.axis,
      font: AXIS_FONT,
      grid: { show: position === 0, stroke: colours.grid, width: 1 },
      ticks: { show: false },
    }
  })
}

function curveSeries(curve: ChartCurve, colours: ChartColours, paths: uPlot.Series.PathBuilder | null) {
  const colour = colours.curves[curve.index - 1] ?? colours.axis
  const common = { scale: scaleOf(curve.unit), points: { show: false }, ...(paths ? { paths } : {}) }
  const edge: uPlot.Series = { ...common, stroke: 'transparent', width: 0 }
  const dash = DASHES[curve.index - 1] ?? []
  const middle: uPlot.Series = { ...common, label: curve.label, stroke: colour, width: 1.5, dash: [...dash] }
  return [edge, middle, edge]
}

interface ChartSize {
  width: number
  height: number
}

/** Options for ``curves``; each takes the three series min, mean, max in this order. */
export function chartOptions(
  curves: readonly ChartCurve[],
  colours: ChartColours,
  size: ChartSize,
  stepped: uPlot.Series.PathBuilder | null,
): uPlot.Options {
  return {
    ...size,
    padding: [12, 8, 0, curves.length === 0 ? FIRST_AXIS_PX : 0],
    legend: { show: false },
    cursor: {
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: { dblclick: () => null },
    },
    scales: {
      x: { time: true },
      ...Object.fromEntries(curves.map((curve) => [scaleOf(curve.unit), { range: paddedRange }])),
    },
    axes: [
      {
        stroke: colours.axis,
        font: AXIS_FONT,
        space: 80,
        size: 40,
        grid: { stroke: colours.grid, width: 1 },
        ticks: { stroke: colours.grid, width: 1, size: 4 },
        values: timeMarks,
      },
      ...valueAxes(curves, colours),
    ],
    series: [
      {},
      ...curves.flatMap((curve) => curveSeries(curve, colours, curve.isStepped ? stepped : null)),
    ],
    // The band of one curve must not hide another.
    bands: (curves.length <= BANDS_UP_TO ? curves : []).map((curve, index) => ({
      series: [COLUMNS * index + 3, COLUMNS * index + 1] as [number, number],
      fill: translucent(colours.curves[curve.index - 1] ?? colours.axis),
    })),
  }
}

/** Index of the mean of curve number ``position`` (from 0) in uPlot's data. */
export const meanIndex = (position: number) => COLUMNS * position + 2
