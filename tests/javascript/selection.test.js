import assert from 'node:assert/strict';
import { test } from 'node:test';

import { difference, erfc, facts, percent, percentInTenths } from '../../app/assets/web/explore/facts.js';
import * as selection from '../../app/assets/web/explore/selection.js';

const bits = (...flags) => {
  const mask = new Uint8Array((flags.length + 7) >> 3);
  flags.forEach((flag, i) => (mask[i >> 3] |= Number(flag) << (i & 7)));
  return mask;
};

// four training images, two test images
const cloud = {
  train: 4,
  total: 6,
  xs: Float32Array.of(-0.5, 0.5, 0, 0.9, 0.1, -0.9),
  ys: Float32Array.of(0, 0, 0.5, 0.9, 0.1, -0.9),
  labels: Uint16Array.of(0, 0, 1, 1, 0, 1),
  blackBox: Uint16Array.of(0, 1, 1, 0, 65535, 1),
};
const layer = {
  predicted: Uint16Array.of(0, 1, 1, 1, 0, 0),
  nearest: Uint16Array.of(0, 2, 2, 1, 0, 1),
  place: ['0.0', '0.1', '1.0'],
};
const subject = {
  cloud,
  layer,
  attributes: { has: [bits(1, 0, 1, 0, 1, 0)], known: [bits(1, 1, 1, 0, 1, 0)] },
  attributeNames: ['hat: red'],
};
const select = (...conditions) => selection.indices(selection.conditionsMask(conditions, subject));

test('each condition selects its images, and all must hold', () => {
  for (const [conditions, images] of [
    [[], [0, 1, 2, 3, 4, 5]],
    [['class:1'], [2, 3, 5]],
    [['predicted:1'], [1, 2, 3]],
    [['blackbox:1'], [1, 2, 5]],
    [['wrong'], [1, 5]],
    [['right'], [0, 2, 3, 4]],
    [['differ'], [3, 5]],
    [['prototype:1.0'], [1, 2]],
    [['split:train'], [0, 1, 2, 3]],
    [['split:test'], [4, 5]],
    [['attribute:hat: red'], [0, 2, 4]],
    [['without:hat: red'], [1]],
    [['lasso:-0.2_-0.2_-0.2_0.6_0.2_0.6_0.2_-0.2'], [2, 4]],
    [['class:0', 'split:test'], [4]],
    [['class:0', 'class:1'], []],
  ]) {
    assert.deepEqual(select(...conditions), images, conditions.join(' & '));
  }
});

test('what is no condition, or about something that is not there, selects nothing', () => {
  for (const text of [
    '',
    ':',
    'class',
    'class:',
    'class:x',
    'class:-1',
    'class:1e3',
    'class:999999',
    'wrong:1',
    'blackbox:65535',
    'split:all',
    'attribute:',
    'attribute:none',
    'attribute:__proto__',
    'without:constructor',
    'prototype:9.9',
    'prototype:0',
    'lasso:',
    'lasso:0_0_1_1',
    'lasso:0_0_1_1_x_0',
    'lasso:0_0_1_1_0',
    'lasso:1e9_0_1_1_0_1',
    `lasso:${'0_'.repeat(1e5)}0`,
    '<img src=x>:1',
    'toString',
    'kind:1',
  ]) {
    assert.deepEqual(select(text), [], text.slice(0, 40));
  }
  assert.deepEqual(
    selection.indices(selection.conditionsMask(['attribute:hat: red'], { ...subject, attributes: null })),
    [],
  );
});

test('an outline becomes a condition and back', () => {
  const corners = [
    [-0.12345, 0.5],
    [1, -0.0001],
    [0.25, -1],
  ];
  const text = selection.lassoText(corners);
  assert.equal(text, 'lasso:-0.123_0.5_1_0_0.25_-1');
  assert.deepEqual(selection.outlineIn(['class:0', text]), [
    [-0.123, 0.5],
    [1, 0],
    [0.25, -1],
  ]);
  assert.deepEqual(selection.outlineIn(['class:0']), []);
});

test('a condition is added once, taken away again, and a new outline takes the place of another', () => {
  assert.deepEqual(selection.toggled(['wrong'], 'class:1'), ['wrong', 'class:1']);
  assert.deepEqual(selection.toggled(['wrong', 'class:1'], 'wrong'), ['class:1']);
  assert.deepEqual(selection.toggled(['lasso:a', 'wrong'], 'lasso:b'), ['wrong', 'lasso:b']);
});

test('a condition is told in words, whatever it is', () => {
  const model = { classes: ['cat', 'dog'], by: 'KMEx' };
  const told = (text) => selection.conditionTitle(text, model);
  assert.equal(told('class:1'), 'dog');
  assert.equal(told('predicted:0'), 'KMEx predicts cat');
  assert.equal(told('without:hat: red'), 'without hat: red');
  assert.equal(told('prototype:1.2'), 'nearest to prototype 3 of dog'); // people count from 1
  assert.equal(told('class:7'), 'unknown class 7');
  assert.equal(told('lasso:0_0_1_1_0_1'), 'outlined on the map');
  assert.match(told('x'.repeat(500)), /^not understood: x{80}$/);
});

test('the complementary error function is that of the tables', () => {
  // Abramowitz and Stegun, table 7.1, and Wolfram Alpha for the tail
  for (const [x, value] of [
    [0, 1],
    [0.5, 0.4795001222],
    [1, 0.1572992071],
    [2, 0.004677735],
    [5, 1.5374597944e-12],
  ]) {
    assert.ok(Math.abs(erfc(x) / value - 1) < 2e-7, `erfc(${x}) is ${erfc(x)}`);
  }
});

test('two shares are told apart as by scipy.stats.chi2_contingency without correction, the square of this test', () => {
  assert.ok(Math.abs(difference(30, 100, 100, 500) - 0.0267018941) < 1e-8, String(difference(30, 100, 100, 500)));
  assert.equal(difference(1, 3, 100, 500), 1); // too few images
  assert.equal(difference(0, 0, 100, 500), 1);
  assert.equal(difference(50, 50, 500, 500), 1); // all have it
});

const many = (total, has) => {
  const flags = Array.from({ length: total }, (_, i) => has(i));
  return {
    cloud: { train: total, total, labels: Uint16Array.from({ length: total }, (_, i) => i % 2) },
    layer: { predicted: Uint16Array.from({ length: total }, (_, i) => (i % 20 === 0 ? 1 - (i % 2) : i % 2)) },
    attributes: { has: [bits(...flags)], known: [bits(...flags.map(() => 1))] },
    attributeNames: ['hat'],
    classes: ['cat', 'dog'],
  };
};

test('a selection tells what it has more of, with the counts it rests on', () => {
  const all = many(2000, (i) => (i < 200 ? i % 4 !== 0 : i % 20 === 1));
  const mask = bits(...Array.from({ length: 2000 }, (_, i) => i < 200));
  const found = facts(mask, { ...all, conditions: [] });
  assert.equal(found.compared, 4);
  assert.deepEqual(
    found.facts.map(({ text, images, of, share, condition }) => ({ text, images, of, share, condition })),
    [{ text: 'hat', images: 150, of: 200, share: 0.75, condition: 'attribute:hat' }],
  );
  assert.equal(found.facts[0].data, 240 / 2000);
  assert.equal(found.sentence, '200 images: 75% hat (data 12%)');
  assert.match(found.test, /4 comparisons \(Bonferroni\)/);
  assert.deepEqual(facts(mask, { ...all, conditions: ['attribute:hat'] }).facts, []);
});

test('chance is no fact: of 400 random selections, few tell one', () => {
  let state = 5;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const all = many(500, () => random() < 0.3);
  let told = 0;
  for (let turn = 0; turn < 400; turn += 1) {
    const mask = bits(...Array.from({ length: 500 }, () => random() < 0.3));
    told += Number(facts(mask, all).facts.length > 0);
  }
  assert.ok(told / 400 < 0.08, `${told} of 400`);
});

test('an empty selection and one of all images tell nothing', () => {
  const all = many(100, (i) => i % 2);
  const every = bits(...Array(100).fill(1));
  assert.deepEqual([facts(new Uint8Array(13), all).sentence, facts(every, all).sentence], ['0 images', '100 images']);
});

test('small shares have a decimal', () => {
  assert.deepEqual([0, 0.0004, 0.004, 0.0234, 1].map(percent), ['0%', '< 0.1%', '0.4%', '2%', '100%']);
  assert.deepEqual([0.0004, 0.99951].map(percentInTenths), ['0.0%', '100.0%']);
});
