import { describe, expect, test } from 'vitest'

import {
  checkSeverity,
  isAbnormal,
  lightOf,
  processSeverity,
  SEVERITIES,
  SEVERITY_ORDER,
} from '@/lib/severity'

import { check, collector, crashed, health, silent, stopped } from './sample'

describe('the table', () => {
  test('gives every severity a shape of its own', () => {
    const shapes = Object.values(SEVERITIES).map((look) => look.shape)
    expect(new Set(shapes).size).toBe(shapes.length)
  })

  test('puts blindness before a warning, and normal before stopped', () => {
    expect(SEVERITY_ORDER).toEqual(['critical', 'unknown', 'warning', 'advisory', 'healthy', 'stopped'])
  })

  test('counts neither normal nor stopped as abnormal', () => {
    expect(SEVERITY_ORDER.filter(isAbnormal)).toEqual(['critical', 'unknown', 'warning', 'advisory'])
  })
})

describe('a collector', () => {
  const errors = check('log_errors', { status: 'warning', code: 'log.errors' })
  const late = check('data_flow', { status: 'warning', code: 'data.late' })

  test('of which only the log complains gets a hint and no warning', () => {
    expect(checkSeverity(errors)).toBe('advisory')
    expect(processSeverity({ health: health('warning', errors) })).toBe('advisory')
  })

  test('with a real warning beside the log keeps the warning', () => {
    expect(processSeverity({ health: health('warning', errors, late) })).toBe('warning')
  })
})

describe('the lights', () => {
  test('of a collector that runs say so three times', () => {
    const process = collector('a')
    expect(lightOf(process, 'process').word).toBe('light.process.RUNNING')
    expect(lightOf(process, 'device').word).toBe('light.device.healthy')
    expect(lightOf(process, 'data').word).toBe('light.data.healthy')
  })

  test('are never merged: a lost device leaves the process light alone', () => {
    const process = silent('a')
    expect(lightOf(process, 'process').severity).toBe('healthy')
    expect(lightOf(process, 'device')).toMatchObject({ severity: 'critical', word: 'light.device.silent' })
    expect(lightOf(process, 'data')).toMatchObject({ severity: 'unknown', word: 'light.data.unknown' })
  })

  test('of a crash tell it in the process light and claim nothing else', () => {
    const process = crashed('a')
    expect(lightOf(process, 'process').word).toBe('light.process.CRASHED')
    expect(lightOf(process, 'device').severity).toBe('unknown')
  })

  test('name the reason where the code is more exact than the state', () => {
    expect(lightOf(crashed('a', 'process.bad_config'), 'process').word).toBe('light.process.bad_config')
    expect(lightOf(crashed('a', 'process.fatal'), 'process').word).toBe('light.process.fatal')
  })

  test('of a collector that an operator stopped are off and no fault', () => {
    const process = stopped('a')
    expect(lightOf(process, 'process')).toMatchObject({ severity: 'stopped', word: 'light.process.STOPPED' })
    expect(lightOf(process, 'data')).toMatchObject({ severity: 'stopped', word: 'light.off' })
  })

  test('without a check are unknown and never healthy', () => {
    const process = collector('a', { health: { ...health('unknown'), checks: [] } })
    expect(lightOf(process, 'data').severity).toBe('unknown')
  })
})
