import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as scale from '../../app/assets/web/explore/timeline_scale.js';

const KS = [1, 2, 3, 4, 5];
const agreement = {
  name: 'agreement',
  title: 'Agreement',
  unit: '%',
  better: 'higher',
  values: [90, 92.04, 95, 95, 96],
  low: [89, 91, 94, 94, 95],
  high: [91, 93, 96, 96, 97],
  chance: [
    [50, 60, 70, 80, 90],
    [60, 70, 80, 90, 90],
  ],
  range: [88, 98],
  about: '',
};
const effective = { ...agreement, name: 'effective', title: 'Effective number', unit: '', values: [1, 1.55, 2, 2, 2] };
const coverage = { ...effective, name: 'coverage', title: 'Coverage radius', better: 'lower', chance: null };
const timeline = { ks: KS, curves: [agreement, effective, coverage], suggested: 2 };

test('numbers are spread evenly, and a place gives the nearest one', () => {
  assert.deepEqual(
    KS.map((k) => scale.placeOf(KS, k)),
    [0, 0.25, 0.5, 0.75, 1],
  );
  for (const k of KS) assert.equal(scale.nearestK(KS, scale.placeOf(KS, k)), k);
  assert.deepEqual(
    [-3, 0.12, 0.13, 7].map((place) => scale.nearestK(KS, place)),
    [1, 1, 2, 5],
  );
  assert.deepEqual([scale.placeOf([4], 4), scale.nearestK([4], 0.9)], [0, 4]);
  assert.deepEqual([scale.placeOf(KS, null), scale.placeOf(KS, -1)], [null, null]);
});

test('keys move by one, by five and to the ends, and never beyond', () => {
  const many = Array.from({ length: 20 }, (_, i) => i + 1);
  const moves = { ArrowRight: 8, ArrowUp: 8, ArrowLeft: 6, ArrowDown: 6, PageUp: 12, PageDown: 2, Home: 1, End: 20 };
  for (const [key, k] of Object.entries(moves)) assert.equal(scale.keyedK(many, 7, key), k, key);
  assert.deepEqual([scale.keyedK(many, 20, 'ArrowRight'), scale.keyedK(many, 1, 'PageDown')], [20, 1]);
  assert.equal(scale.keyedK(many, 7, 'Tab'), null);
  assert.equal(scale.keyedK(many, null, 'ArrowRight'), 1, 'from a source that is not on the timeline');
});

test('a line goes through its values, and a band goes around both ends', () => {
  assert.equal(scale.linePath([0, 5, 10], [0, 10]), 'M0.0 100.00L500.0 50.00L1000.0 0.00');
  assert.equal(scale.bandPath([0, 0], [10, 5], [0, 10]), 'M0.0 0.00L1000.0 50.00L1000.0 100.00L0.0 100.00Z');
  assert.equal(scale.heightOf(3, [3, 3]), 100, 'a range of no extent');
});

test('values are said with unit and chance level', () => {
  assert.equal(scale.valueWords(agreement, KS, 1), '92.0%');
  assert.equal(scale.valueWords(effective, KS, 1), '1.6 of 2');
  assert.equal(scale.valueWords(coverage, KS, 0), '1.00');
  assert.equal(scale.chanceWords(agreement, 0), 'random images 50.0 to 60.0%');
  assert.equal(scale.chanceWords(agreement, 4), 'random images 90.0%');
  assert.equal(scale.chanceWords(coverage, 0), '');
  assert.deepEqual([scale.arrow(agreement), scale.arrow(coverage)], ['↑', '↓']);
});

test('all values of a number make a sentence', () => {
  assert.equal(
    scale.valueText(timeline, 2),
    '2 prototypes per class: agreement 92.0% (random images 60.0 to 70.0%), ' +
      'effective number 1.6 of 2 (random images 60.0 to 70.0), coverage radius 1.55; suggested',
  );
  assert.match(scale.valueText(timeline, 1), /^1 prototype per class: .*coverage radius 1\.00$/);
});
