import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  hiddenAfter,
  History,
  kept,
  numbered,
  scoreLines,
  storageKey,
  words,
} from '../../app/assets/web/explore/operations.js';

const names = { classes: ['cat', 'dog'], titles: (p) => ['cat 1', 'cat 2', 'dog 1'][p] ?? `prototype ${p}` };
const hide = (p) => ({ op: 'hide', p });

test('undo takes the last edit back, redo does it again, and a new one forgets what was undone', () => {
  const history = new History([hide(0)]);
  history.add(hide(1));
  history.add(hide(2));
  history.undo();
  history.undo();
  assert.deepEqual([history.done, history.undone], [[hide(0)], [hide(2), hide(1)]]);
  history.redo();
  assert.deepEqual(history.done, [hide(0), hide(1)]);
  history.add({ op: 'split', p: 0 });
  assert.deepEqual(history.undone, []);
  history.revert([hide(0), hide(1)]);
  assert.deepEqual([history.done, history.undone], [[hide(0), hide(1)], []]);
  for (let i = 0; i < 4; i += 1) history.undo();
  assert.deepEqual([history.done, history.undone], [[], [hide(1), hide(0)]]);
  for (let i = 0; i < 4; i += 1) history.redo();
  assert.deepEqual(history.done, [hide(0), hide(1)]);
});

test('a prototype that is shown again is not hidden', () => {
  assert.deepEqual(hiddenAfter([hide(3), hide(1), { op: 'show', p: 3 }, { op: 'move', p: 2, class: 1 }]), [1]);
});

test('each kind of edit has words', () => {
  const told = [
    hide(0),
    { op: 'show', p: 0 },
    { op: 'move', p: 0, class: 1 },
    { op: 'merge', p: [0, 1] },
    { op: 'split', p: 2 },
    { op: 'add', image: 17, class: 1 },
    { op: 'add', image: 17 },
    { op: 'name', p: 1, name: '<b>whiskers</b>' },
    { op: 'name', p: 1, name: '' },
    { op: 'note', p: 9, note: 'x' },
  ].map((operation) => words(operation, names));
  assert.deepEqual(told, [
    'cat 1 hidden',
    'cat 1 shown again',
    'cat 1 moved to dog',
    'cat 1 and cat 2 merged',
    'dog 1 split in two',
    'Training image 17 added as a prototype of dog',
    'Training image 17 added as a prototype of its class',
    'cat 2 named “<b>whiskers</b>”',
    'The name of cat 2 removed',
    'Note on prototype 9',
  ]);
});

test('places in a layer become the numbers that the server knows', () => {
  const index = [0, 4, 2];
  assert.deepEqual(numbered(hide(1), index), hide(4));
  assert.deepEqual(numbered({ op: 'merge', p: [1, 2] }, index), { op: 'merge', p: [4, 2] });
  assert.deepEqual(numbered({ op: 'add', image: 1 }, index), { op: 'add', image: 1 });
});

test('what was kept is read, and nothing of what is no list of edits', () => {
  const text = JSON.stringify({ operations: [hide(1)], titles: [[1, 'cat 2'], 'x', [2]] });
  assert.deepEqual(kept(text), { operations: [hide(1)], titles: [[1, 'cat 2']] });
  for (const bad of [null, '', '{', 'null', '[]', '{"operations": 3}', '{"operations": [{"op": "eval"}]}', '7'])
    assert.deepEqual(kept(bad), { operations: [], titles: [] }, String(bad));
  assert.notEqual(storageKey('a', 'b c'), storageKey('a b', 'c'));
});

test('scores are told before and after, with their direction, on both parts', () => {
  const group = (accuracy) => ({ name: 'cat with hat', images: 1040, accuracy, low: 0.5, high: 0.75, conditions: [] });
  const part = (accuracy, worst, agreement = null) => {
    return { images: 100, accuracy, agreement, worst: group(worst), chosen: group(worst), first: group(worst) };
  };
  const scores = {
    scored: part(0.91, 0.7),
    untouched: part(0.88, 0.6),
    before: { scored: part(0.9, 0.7), untouched: part(0.89, 0.5) },
    from: 'validation',
  };
  const lines = scoreLines(scores);
  assert.deepEqual(
    lines.map(({ title }) => title),
    ['Accuracy ↑', 'Worst subgroup ↑', 'The subgroup that was the worst ↑'],
  );
  assert.deepEqual(lines[0].scored, ['90.0', '91.0%', 1]);
  assert.deepEqual(lines[0].untouched, ['89.0', '88.0%', -1]);
  assert.deepEqual(lines[1].scored, ['70.0', '70.0%', 0]);
  assert.equal(lines[1].beside, 'cat with hat there: 60.0%');
  assert.equal(lines[1].about, 'now cat with hat, 1,040 images, 95% interval 50.0% to 75.0%');
  const all = { ...scores, scored: part(0.91, 0.7, 0.5), untouched: part(0.88, 0.6, 0.5) };
  all.before = { scored: part(0.9, 0.7, 0.5), untouched: part(0.89, 0.5, 0.5) };
  assert.equal(scoreLines(all)[1].title, 'Agreement with the black box ↑');
  const none = { ...scores, scored: { ...part(0.9, 0.7), worst: null } };
  assert.ok(!scoreLines(none).some(({ title }) => title === 'Worst subgroup ↑'));
});
