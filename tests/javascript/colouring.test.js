import assert from 'node:assert/strict';
import { test } from 'node:test';

import { colouring, limitTexts, shadesOf, steps } from '../../app/assets/web/explore/colouring.js';
import { countsOf } from '../../app/assets/web/explore/legend.js';
import { stepBetween, stepOf } from '../../app/assets/web/explore/map_view.js';
import { imageOf, toggledClass } from '../../app/assets/web/explore/toolbar.js';

const given = {
  data: { model: { classes: ['cat', 'dog'], colours: ['#ff0000', '#0000ff'], attributes: ['hat'], by: 'KMEx' } },
  cloud: { total: 4, labels: Uint16Array.of(0, 0, 1, 1) },
  layer: {
    class: [0, 0, 1],
    place: ['0.0', '0.1', '1.0'],
    name: ['', 'tabby', ''],
    predicted: Uint16Array.of(0, 1, 1, 0),
    nearest: Uint16Array.of(0, 2, 2, 1),
  },
  certainty: { confidence: Float32Array.of(0.5, 0.9, 0.7, 1), distance: Float32Array.of(1, 1, 1, 1) },
  attributes: { has: [Uint8Array.of(0b0001)], known: [Uint8Array.of(0b0111)] },
};

test('each colouring gives every image a colour that the legend explains and counts', () => {
  for (const kind of [
    'class',
    'correct',
    'prototype',
    'confidence',
    'distance',
    'attribute:hat',
    'attribute:none',
    'x',
  ]) {
    const { category, colours, legend, squares } = colouring(kind, given);
    assert.equal(category.length, 4, kind);
    assert.equal(squares.length, 3, kind);
    const explained = new Map(legend.map((entry) => [entry.category, entry.colour]));
    for (const value of category) assert.equal(explained.get(value), colours[value], kind);
    const counts = countsOf({ category, colours }, null);
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      4,
      kind,
    );
  }
});

test('what is coloured, by its condition', () => {
  const told = (kind) => {
    const { category, legend } = colouring(kind, given);
    return [...category].map((value) => legend.find((entry) => entry.category === value)?.condition);
  };
  assert.deepEqual(told('class'), ['class:0', 'class:0', 'class:1', 'class:1']);
  assert.deepEqual(told('correct'), ['right', 'wrong', 'right', 'wrong']);
  assert.deepEqual(told('prototype'), ['prototype:0.0', 'prototype:1.0', 'prototype:1.0', 'prototype:0.1']);
  assert.deepEqual(told('attribute:hat'), ['attribute:hat', 'without:hat', 'without:hat', null]);
});

test('prototypes are called by their names, else by class and number', () => {
  assert.deepEqual(
    colouring('prototype', given).legend.map(({ text }) => text),
    ['cat 1', 'tabby', 'dog 1'],
  );
});

test('what is not here is coloured by class', () => {
  const { certainty, attributes, ...without } = given;
  for (const kind of ['confidence', 'attribute:hat']) assert.equal(colouring(kind, without).kind, 'class');
});

test('the legend counts the images that are drawn', () => {
  assert.deepEqual(countsOf(colouring('class', given), Uint8Array.of(0b0110)), [1, 1]);
});

test('steps have as many images each, and equal values are in one', () => {
  const values = Float32Array.from({ length: 600 }, (_, i) => (i * 7) % 600);
  const { category, limits } = steps(values);
  assert.deepEqual(limits, [99, 199, 299, 399, 499, 599]);
  const counts = [...category].reduce((sums, step) => ((sums[step] += 1), sums), [0, 0, 0, 0, 0, 0]);
  assert.deepEqual(counts, [100, 100, 100, 100, 100, 100]);
  values.forEach((value, i) =>
    assert.ok(value <= limits[category[i]] && (!category[i] || value > limits[category[i] - 1])),
  );
  const flat = steps(new Float32Array(10).fill(3));
  assert.deepEqual([flat.limits, [...flat.category]], [[3], Array(10).fill(0)]);
  assert.equal(steps(values), steps(values)); // not sorted anew
});

test('limits have as many digits as tell them apart', () => {
  assert.deepEqual(limitTexts([0.8440651, 0.95116, 0.998165, 0.999998, 1]), [
    'up to 0.84',
    '0.84 to 0.95',
    '0.95 to 0.998',
    '0.998 to 0.999998',
    '0.999998 to 1',
  ]);
  assert.deepEqual(limitTexts([3]), ['up to 3']);
});

test('shades of a class go from dark to light, and one alone has its colour', () => {
  const [dark, middle, light, alone] = shadesOf([0, 0, 0, 1], ['#808080', '#0000ff']);
  assert.ok(dark < middle && middle < light, `${dark} ${middle} ${light}`);
  assert.deepEqual([middle, alone], ['#808080', '#0000ff']);
  assert.equal(new Set(shadesOf(Array(20).fill(0), ['#2f7fbf'])).size, 20);
});

test('a step is to the next number of prototypes of the same seed and metric', () => {
  assert.equal(stepOf('kmeans:3:0:auto', 'kmeans:4:0:auto'), 1);
  assert.equal(stepOf('kmeans:4:0:auto', 'kmeans:3:0:auto'), -1);
  for (const other of ['kmeans:5:0:auto', 'kmeans:4:1:auto', 'kmeans:4:0:cosine', 'kmeans:-1:0:auto', 'own']) {
    assert.equal(stepOf('kmeans:3:0:auto', other), 0, other);
  }
});

test('prototypes move along their lineage at a step, and not otherwise', () => {
  const cloud = { normal: (value) => value };
  const one = { cloud, layer: { source: 'kmeans:1:0:auto', x: [0], y: [0], parent: [-1] } };
  const two = { cloud, layer: { source: 'kmeans:2:0:auto', x: [1, -1], y: [1, -1], parent: [0, 0] } };
  const there = stepBetween(one, two);
  assert.deepEqual(there.from, [
    [0, 0],
    [0, 0],
  ]);
  assert.deepEqual(there.splits, [
    [0, [0, 0]],
    [1, [0, 0]],
  ]);
  assert.deepEqual(stepBetween(two, one), { from: [[1, 1]], splits: [] });
  assert.deepEqual(stepBetween(null, two), { from: null, splits: [] });
  assert.deepEqual(stepBetween({ ...one, cloud: { ...cloud } }, two), { from: null, splits: [] });
});

test('an image is found by what a person writes', () => {
  const images = { train: 100, test: 10 };
  for (const [text, name] of [
    ['train 12', 'train-12'],
    ['test 7', 'test-7'],
    ['Test-7', 'test-7'],
    ['training image 3', 'train-3'],
    [' 99 ', 'train-99'],
    ['#4', 'train-4'],
    ['007', 'train-7'],
    ['100', ''],
    ['test 10', ''],
    ['', ''],
    ['cat', ''],
    ['-1', 'train-1'],
    ['1e3', ''],
    ['9'.repeat(400), ''],
  ]) {
    assert.equal(imageOf(text, images), name, text.slice(0, 20));
  }
});

test('classes are shown in their order, and all of them stand for no choice', () => {
  const all = ['a', 'b', 'c'];
  assert.deepEqual(toggledClass([], 'b', all), ['b']);
  assert.deepEqual(toggledClass(['b'], 'a', all), ['a', 'b']);
  assert.deepEqual(toggledClass(['b'], 'b', all), []);
  assert.deepEqual(toggledClass(['a', 'b'], 'c', all), []);
});
