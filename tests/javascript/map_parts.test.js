import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as colour from '../../app/assets/web/map/colour.js';
import { CORNERS, insideMask, outlineOf, simplified } from '../../app/assets/web/map/lasso.js';
import * as mask from '../../app/assets/web/map/mask.js';
import { Nearest, drawingOrder } from '../../app/assets/web/map/order.js';
import { PALE, STRONG } from '../../app/assets/web/map/dots.js';
import { SAMPLE, sampleOf } from '../../app/assets/web/map/scatter.js';
import { between, splits, starts, startsBack } from '../../app/assets/web/map/steps.js';

const randomFrom = (seed) => () => (seed = (seed * 48271) % 2147483647) / 2147483647;

test('masks are sets of images', () => {
  const random = randomFrom(3);
  for (const total of [0, 1, 7, 8, 9, 65]) {
    const [one, other] = [0, 1].map(() => new Set([...Array(total).keys()].filter(() => random() < 0.5)));
    const [a, b] = [one, other].map((set) => mask.maskOf(total, (i) => set.has(i)));
    const all = [...Array(total).keys()];
    assert.deepEqual(mask.indices(a), [...one]);
    assert.equal(mask.size(a), one.size);
    assert.deepEqual(
      mask.indices(mask.and(a, b)),
      all.filter((i) => one.has(i) && other.has(i)),
    );
    assert.deepEqual(
      mask.indices(mask.or(a, b)),
      all.filter((i) => one.has(i) || other.has(i)),
    );
    assert.deepEqual(
      mask.indices(mask.not(a, total)),
      all.filter((i) => !one.has(i)),
    );
    assert.ok(all.every((i) => mask.has(a, i) === one.has(i)));
    assert.deepEqual(mask.indices(a, 2), [...one].slice(0, 2));
    assert.ok(mask.same(a, Uint8Array.from(a)) && !mask.same(a, null));
  }
  assert.ok(!mask.same([1, 2], [1, 3]));
});

test('images are told by their values', () => {
  const random = randomFrom(5);
  const values = Uint8Array.from({ length: 101 }, () => Math.floor(4 * random()));
  const others = Uint16Array.from({ length: 101 }, () => Math.floor(4 * random()));
  const some = mask.maskOf(101, () => random() < 0.5);
  const all = [...values.keys()];
  assert.deepEqual(mask.indices(mask.every(101)), all);
  assert.deepEqual(
    mask.indices(mask.having(values, 2)),
    all.filter((i) => values[i] === 2),
  );
  assert.deepEqual(mask.indices(mask.having(values, -1)), []);
  assert.deepEqual(
    mask.indices(mask.agreeing(values, others)),
    all.filter((i) => values[i] === others[i]),
  );
  for (const value of [0, 1, 2, 3, 4]) {
    const those = all.filter((i) => values[i] === value);
    assert.equal(mask.histogram(values, 101)[value], those.length);
    assert.equal(mask.histogram(values, 50)[value], those.filter((i) => i < 50).length);
    assert.equal(mask.histogram(values, 101, some)[value], those.filter((i) => mask.has(some, i)).length);
  }
});

test('dots are drawn in an order that is a sample from its start, the same each time', () => {
  const order = drawingOrder(3000, 4000);
  assert.deepEqual(
    [...order.slice(0, 3000)].sort((a, b) => a - b),
    [...Array(3000).keys()],
  );
  assert.deepEqual(
    [...order.slice(3000)].sort((a, b) => a - b),
    [...Array(1000).keys()].map((i) => 3000 + i),
  );
  assert.deepEqual(order, drawingOrder(3000, 4000));
  const low = order.slice(0, 500).filter((i) => i < 1500).length;
  assert.ok(low > 200 && low < 300, `${low} of 500 are of the first half`);
});

test('a sample is of what is shown, of training and test images alike', () => {
  const order = drawingOrder(20000, 30000);
  const look = new Uint8Array(30000).map((_, i) => (i % 2 ? (i % 3 ? STRONG : PALE) : 0));
  const sample = sampleOf(order, 20000, look);
  assert.ok(sample.length <= SAMPLE && sample.length > SAMPLE - 3);
  assert.ok(sample.every((i) => i % 2));
  assert.ok(Math.abs(sample.filter((i) => i >= 20000).length / sample.length - 1 / 3) < 0.01);
  const few = new Uint8Array(30000);
  few[4] = STRONG;
  assert.deepEqual(sampleOf(order, 20000, few), [4]);
  assert.deepEqual(sampleOf(order, 20000, new Uint8Array(30000)), []);
});

test('the nearest image that is shown is found, as by looking at each', () => {
  const random = randomFrom(11);
  const total = 400;
  const [xs, ys] = [0, 1].map(() => Float32Array.from({ length: total }, () => 2.2 * random() - 1.1));
  const nearest = new Nearest({ xs, ys, total });
  for (let turn = 0; turn < 200; turn += 1) {
    const [x, y, reach] = [2.4 * random() - 1.2, 2.4 * random() - 1.2, turn % 2 ? 0.02 : 0.4];
    const shown = turn % 3 ? mask.maskOf(total, (i) => i % 4 === 0) : null;
    let [wanted, least] = [-1, reach];
    for (let i = 0; i < total; i += 1) {
      const away = Math.hypot(xs[i] - x, ys[i] - y);
      if (away <= least && (!shown || i % 4 === 0)) [wanted, least] = [i, away];
    }
    assert.equal(nearest.find([x, y], reach, shown), wanted);
  }
});

test('a straight stroke is the diagonal of a box, another is an outline', () => {
  const straight = Array.from({ length: 20 }, (_, at) => [at * 10, at * 5 + (at % 2)]);
  assert.deepEqual(outlineOf(straight), [
    [0, 0],
    [190, 0],
    [190, 96],
    [0, 96],
  ]);
  const round = Array.from({ length: 20 }, (_, at) => [Math.cos(at / 3), Math.sin(at / 3)]);
  assert.equal(outlineOf(round), round);
  const level = [
    [0, 0],
    [50, 0],
    [100, 1],
  ];
  assert.equal(outlineOf(level), level); // no box: it would be flat
  assert.deepEqual(outlineOf([]), []);
});

test('an outline is simplified to few corners, and stays where it was', () => {
  const circle = Array.from({ length: 3000 }, (_, at) => [
    0.5 * Math.cos((at * Math.PI) / 1500) + 0.01 * Math.sin(at),
    0.5 * Math.sin((at * Math.PI) / 1500),
  ]);
  const corners = simplified(circle);
  assert.ok(corners.length <= CORNERS && corners.length > 8, `${corners.length} corners`);
  for (const [x, y] of corners) assert.ok(Math.abs(Math.hypot(x, y) - 0.5) < 0.02);
  const square = [0, 1, 2, 3, 4, 5, 6, 7].map((at) => [[0, 1, 2, 2, 2, 1, 0, 0][at], [0, 0, 0, 1, 2, 2, 2, 1][at]]);
  assert.equal(simplified(square).length, 5); // the last point is no corner, and stays as the end of the stroke
});

test('a point is inside by the even-odd rule', () => {
  const star = [
    [0, 3],
    [2, -3],
    [-3, 1],
    [3, 1],
    [-2, -3],
  ];
  const [xs, ys] = [Float32Array.of(0, 0, 5), Float32Array.of(2, 0, 0)];
  assert.deepEqual(mask.indices(insideMask(star, xs, ys)), [0]); // the second is crossed twice
  assert.deepEqual(mask.indices(insideMask([], xs, ys)), []);
});

test('prototypes start from their parents, and at a step back from the first of their children', () => {
  const [one, two] = [
    [
      [0, 0],
      [5, 5],
    ],
    [
      [0, 1],
      [4, 4],
      [6, 6],
    ],
  ];
  const parents = [0, 1, 1];
  assert.deepEqual(starts(one, two, parents), [
    [0, 0],
    [5, 5],
    [5, 5],
  ]);
  assert.deepEqual(starts(one, two, [-1, 9, 1]), [
    [0, 1],
    [4, 4],
    [5, 5],
  ]);
  assert.deepEqual(startsBack(two, one, parents), [
    [0, 1],
    [4, 4],
  ]);
  assert.deepEqual(splits(parents), [
    [1, 1],
    [2, 1],
  ]);
  assert.deepEqual(splits([-1, -1, 0]), []);
});

test('what glides is at its start, then at its end', () => {
  const [from, to] = [[[0, 0]], [[8, -8]]];
  assert.deepEqual(between(from, to, 0), from);
  assert.deepEqual(between(from, to, 1), to);
  assert.deepEqual(between(from, to, 0.5), [[7, -7]]);
});

test('colours are read as styles and browsers write them', () => {
  assert.deepEqual(colour.parsed('#0a80FF'), [10, 128, 255]);
  assert.deepEqual(colour.parsed('rgb(10, 128, 255)'), [10, 128, 255]);
  assert.deepEqual(colour.parsed(''), [0, 0, 0]);
  assert.equal(colour.written(colour.mixed([0, 0, 0], [255, 100, 10], 0.5)), '#803205');
});
