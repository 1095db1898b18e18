import assert from 'node:assert/strict';
import { test } from 'node:test';

import { addressOf, moved } from '../../app/assets/web/matrix/grid.js';

const ROWS = [
  [true, false, true, true],
  [false, false, false, false],
  [true, false, false, true],
];

test('keys move to the next cell that can be focused', () => {
  assert.deepEqual(moved(ROWS, [0, 0], 'ArrowRight'), [0, 2]);
  assert.deepEqual(moved(ROWS, [0, 2], 'ArrowLeft'), [0, 0]);
  assert.deepEqual(moved(ROWS, [0, 3], 'ArrowRight'), [0, 3]);
  assert.deepEqual(moved(ROWS, [0, 2], 'Home'), [0, 0]);
  assert.deepEqual(moved(ROWS, [0, 2], 'End'), [0, 3]);
});

test('up and down skip rows without such cells and keep the column as well as they can', () => {
  assert.deepEqual(moved(ROWS, [0, 2], 'ArrowDown'), [2, 3]);
  assert.deepEqual(moved(ROWS, [2, 0], 'ArrowUp'), [0, 0]);
  assert.deepEqual(moved(ROWS, [2, 3], 'ArrowDown'), [2, 3]);
});

test('other keys do not move', () => {
  assert.equal(moved(ROWS, [0, 0], 'a'), null);
});

test('conditions are parameters of their own, whatever is in a name', () => {
  const address = addressOf('explore?model=faces&k=5', ['attribute:Ä & b=c#', 'wrong']);
  const query = new URL(address, 'http://host/').searchParams;
  assert.deepEqual(query.getAll('select'), ['attribute:Ä & b=c#', 'wrong']);
  assert.equal(query.get('model'), 'faces');
  assert.equal(addressOf('explore', ['right']), 'explore?select=right');
  assert.equal(addressOf('explore?k=5', []), 'explore?k=5');
});
