// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { indices } from '../../app/assets/web/map/mask.js';
import { ofCell, otherClass, otherPrototype, shownFirst, summary } from '../../app/assets/web/pair/differences.js';

/** @param {number[]} predicted @param {number[]} nearest */
const layer = (predicted, nearest) => ({ predicted: Uint16Array.from(predicted), nearest: Uint16Array.from(nearest) });
// six images, the last one of the test split
const A = layer([0, 0, 1, 1, 0, 0], [0, 1, 2, 3, 0, 0]);
const B = layer([0, 1, 1, 1, 0, 0], [1, 2, 2, 2, 0, 1]);
const LABELS = { labels: [0, 0, 1, 1, 0, 0], train: 5, total: 6 };

test('images change their class, or to a prototype that is not the match', () => {
  assert.deepEqual([...indices(otherClass([A, B]))], [1]);
  // prototype 3 has no match
  assert.deepEqual([...indices(otherPrototype([A, B], [1, 0, 2, -1]))], [1, 3, 4]);
});

test('a cell has the training images of its class by both prototypes', () => {
  /** @type {[number[], number[]]} */
  const ofClass = [
    [0, 1],
    [0, 1],
  ];
  const cell = (/** @type {number | null} */ a, /** @type {number | null} */ b) => [
    ...indices(ofCell([A, B], { label: 0, prototypes: [a, b], ofClass }, LABELS)),
  ];
  assert.deepEqual(cell(0, 1), [0]); // and not the test image
  assert.deepEqual(cell(0, 0), [4]);
  assert.deepEqual(cell(1, null), [1]); // B's nearest is of another class
  assert.deepEqual(cell(null, null), []);
});

test('what changes is counted, and shown first', () => {
  const [classes, prototypes] = [otherClass([A, B]), otherPrototype([A, B], [1, 0, 2, -1])];
  const all = Uint8Array.of(0b111111);
  assert.equal(summary(all, classes, prototypes), '6 images: 1 with another class, 3 with another prototype.');
  assert.equal(summary(Uint8Array.of(1), classes, prototypes).startsWith('1 image: 0 with'), true);
  assert.deepEqual(shownFirst(all, classes, 3), [1, 0, 2]);
});
