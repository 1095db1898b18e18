import assert from 'node:assert/strict';
import { test } from 'node:test';

import { middle } from '../../app/assets/web/map/data.js';
import * as detail from '../../app/assets/web/map/detail.js';
import { HIDDEN, PALE, STRONG, looks } from '../../app/assets/web/map/dots.js';
import { Frame, apart, whole } from '../../app/assets/web/map/geometry.js';
import { maskOf } from '../../app/assets/web/map/mask.js';
import { drawingOrder } from '../../app/assets/web/map/order.js';
import { WebGLScatter } from '../../app/assets/web/map/webgl_scatter.js';

const randomFrom = (seed) => () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const SIZE = { width: 400, height: 300 };
const CANVAS = 'canvas';

// Notes what is drawn instead of drawing it: the dots of each picture, as they are in the element buffer.
class Card {
  constructor() {
    this.images = new Map(); // what each picture has: dots, and other pictures
    this.index = new Uint32Array(0);
    this.target = CANVAS;
    this.frames = 0; // in which the canvas was drawn
    this.largest = 0; // number of dots drawn at once
  }

  content(target) {
    if (!this.images.has(target)) this.images.set(target, []);
    return this.images.get(target);
  }

  place() {}

  paint() {}

  choose(index) {
    this.index = index.slice();
  }

  aim(picture, width, height) {
    this.target = picture ?? CANVAS;
    if (picture) [picture.width, picture.height] = [width, height];
    if (!picture) this.frames += 1;
  }

  clear() {
    this.images.set(this.target, []);
  }

  draw(frame, { without }, ranges) {
    for (const { first, count } of ranges) {
      assert.ok(first + count <= this.index.length, 'no dots beyond those chosen are drawn');
      this.largest = Math.max(this.largest, count);
      for (const at of this.index.subarray(first, first + count)) this.content(this.target).push({ at, without });
    }
  }

  show(picture) {
    for (const each of this.content(picture)) this.content(this.target).push(each);
  }

  get canvas() {
    return this.content(CANVAS).map(({ at }) => at);
  }
}

// A graphics card that knows every call and does nothing.
const gl = new Proxy({}, { get: () => () => ({}) });
globalThis.window = { devicePixelRatio: 1 };

const TRAIN = 240_000;
const TOTAL = 250_000;
const random = randomFrom(7);
const cloud = {
  train: TRAIN,
  total: TOTAL,
  xs: Float32Array.from({ length: TOTAL }, () => 1.9 * random() - 0.95),
  ys: Float32Array.from({ length: TOTAL }, () => 1.9 * random() - 0.95),
  reach: [0.95, 0.95],
};
const labels = Uint8Array.from({ length: TOTAL }, (_, i) => (i < 5000 ? 1 : 0)); // a rare class, first in its split

const scatterOf = (look = looks(TOTAL, null, null), those = cloud) => {
  const scatter = new WebGLScatter({ addEventListener() {}, width: 0, height: 0 }, gl);
  const card = new Card();
  scatter.card = card;
  scatter.place(those);
  scatter.paint({ colours: [[0, 0, 0]], category: labels, look });
  return { scatter, card };
};
const wholeFrame = () => new Frame(whole(cloud, SIZE), SIZE);
const rest = (scatter, frame, most) => {
  for (let turn = 0; turn < 200; turn += 1) if (scatter.draw(frame, { most, isMoving: false }).isDone) return turn;
  return assert.fail('it never ends');
};
const images = (scatter, places) => Array.from(places, (at) => scatter.order[at]);
const once = (places) => assert.equal(new Set(places).size, places.length, 'no dot is drawn twice');

test('at rest all dots are drawn once, training images below test images, by no more in a frame than it has time for', () => {
  const { scatter, card } = scatterOf();
  const turns = rest(scatter, wholeFrame(), 30_000);
  assert.ok(turns >= TOTAL / 30_000 - 1);
  assert.ok(card.largest <= 30_000);
  const places = card.canvas;
  assert.equal(places.length, TOTAL);
  once(places);
  assert.ok(places.every((at, i) => i === 0 || places[i - 1] < at));
});

test('while it moves a frame has a fair sample, of each split and each class', () => {
  const { scatter, card } = scatterOf();
  const { drawn, isDone } = scatter.draw(wholeFrame(), { most: 50_000, isMoving: true });
  assert.equal(isDone, false);
  assert.ok(Math.abs(drawn - 50_000) <= 2);
  const sample = images(scatter, card.canvas);
  once(sample);
  const share = sample.length / TOTAL;
  assert.ok(Math.abs(sample.filter((i) => i >= TRAIN).length - share * (TOTAL - TRAIN)) <= 1);
  const rare = sample.filter((i) => labels[i] === 1).length;
  const wanted = share * 5000;
  assert.ok(Math.abs(rare - wanted) < 4 * Math.sqrt(wanted), `${rare} of the rare class, expected about ${wanted}`);
});

test('what is hidden is never drawn, and what is left is drawn at once if it is little', () => {
  const shown = maskOf(TOTAL, (i) => i % 3 === 0);
  const { scatter, card } = scatterOf(looks(TOTAL, shown, null));
  assert.equal(scatter.draw(wholeFrame(), { most: 10, isMoving: false }).isDone, true);
  const drawn = images(scatter, card.canvas).sort((a, b) => a - b);
  assert.deepEqual(
    drawn,
    [...Array(TOTAL).keys()].filter((i) => i % 3 === 0),
  );
});

test('what is drawn of a new choice is of that choice, from the first frame on', () => {
  const { scatter, card } = scatterOf();
  rest(scatter, wholeFrame(), 50_000);
  const shown = maskOf(TOTAL, (i) => i % 2 === 0);
  scatter.paint({ colours: [[0, 0, 0]], category: labels, look: looks(TOTAL, shown, null) });
  assert.equal(scatter.draw(wholeFrame(), { most: 20_000, isMoving: false }).isDone, false);
  assert.ok(images(scatter, card.canvas).every((i) => i % 2 === 0));
  rest(scatter, wholeFrame(), 20_000);
  assert.equal(card.canvas.length, TOTAL / 2);
  assert.ok(images(scatter, card.canvas).every((i) => i % 2 === 0));
});

test('a map that was moved shows all that was drawn, and a sample of what that has not', () => {
  const { scatter, card } = scatterOf();
  const before = new Frame({ x: 0, y: 0, side: 1 }, SIZE);
  rest(scatter, before, 50_000);
  const all = card.canvas.length;
  const after = new Frame({ x: 0.3, y: 0, side: 1 }, SIZE);
  scatter.draw(after, { most: 20_000, isMoving: true });
  const old = card.content(CANVAS).filter(({ without }) => without === null);
  const fresh = card.content(CANVAS).filter(({ without }) => without !== null);
  assert.equal(old.length, all);
  assert.ok(fresh.length > 0 && fresh.length <= 20_002);
  assert.deepEqual(fresh[0].without, detail.areaOf(before));
  // back again it is whole without a dot being drawn
  assert.deepEqual(scatter.draw(before, { most: 20_000, isMoving: true }), { drawn: 0, isDone: true });
});

test('near by, all dots in sight are drawn, and few others', () => {
  const { scatter, card } = scatterOf();
  const near = new Frame({ x: 0.1, y: -0.2, side: 0.2 }, SIZE);
  rest(scatter, near, 1000);
  const [left, low, right, high] = detail.areaOf(near);
  const drawn = new Set(images(scatter, card.canvas));
  const inSight = [...Array(TOTAL).keys()].filter(
    (i) => cloud.xs[i] > left && cloud.xs[i] < right && cloud.ys[i] > low && cloud.ys[i] < high,
  );
  assert.ok(inSight.length > 500 && inSight.every((i) => drawn.has(i)));
  assert.ok(drawn.size < 1.3 * inSight.length);
});

test('while it moves near by, the sample is of what is in sight', () => {
  const { scatter, card } = scatterOf();
  scatter.draw(new Frame({ x: 0.1, y: -0.2, side: 0.5 }, SIZE), { most: 10_000, isMoving: true });
  assert.ok(images(scatter, card.canvas).every((i) => Math.abs(cloud.xs[i] - 0.1) < 0.6));
  assert.ok(card.canvas.length >= 10_000);
});

test('a small cloud is drawn as a whole in one frame at rest, in part while it moves slowly', () => {
  const few = { ...cloud, train: 60_000, total: 70_000 };
  const { scatter, card } = scatterOf(looks(few.total, null, null), few);
  assert.equal(scatter.draw(wholeFrame(), { most: 20_000, isMoving: false }).isDone, true);
  assert.deepEqual([...card.canvas], [...Array(few.total).keys()], 'each dot once, in the drawing order');
  const { drawn, isDone } = scatter.draw(wholeFrame(), { most: 20_000, isMoving: true });
  assert.ok(!isDone && Math.abs(drawn - 20_000) <= 2);
});

test('a frame draws fewer dots when it was slow, and more when it was fast and could have had more', () => {
  const pace = new detail.Pace();
  pace.judge(80, detail.DIRECT);
  assert.equal(pace.dots, 60_000);
  pace.judge(10, 5000); // there were no more
  assert.equal(pace.dots, 60_000);
  pace.judge(10, 60_000);
  assert.equal(pace.dots, 66_000);
  pace.judge(30, 66_000);
  assert.equal(pace.dots, 66_000);
  for (let turn = 0; turn < 50; turn += 1) pace.judge(500, pace.dots);
  assert.ok(pace.dots >= 2000);
});

test('a picture stands for another frame if that is near and of the same window', () => {
  const frame = (x, side, size = SIZE) => new Frame({ x, y: 0, side }, size);
  assert.ok(detail.isUsable(frame(0, 2), frame(0.5, 2)));
  assert.ok(detail.isUsable(frame(0, 2), frame(0, 1.2)));
  assert.ok(!detail.isUsable(frame(0, 2), frame(0, 0.5)), 'it would be blurred');
  assert.ok(!detail.isUsable(frame(0, 0.1), frame(0.9, 0.1)), 'it shows nothing of it');
  assert.ok(!detail.isUsable(frame(0, 2), frame(0, 2, { width: 401, height: 300 })));
});

test('images are hidden, pale or strong by two masks', () => {
  const [shown, selected] = [maskOf(11, (i) => i % 2 === 0), maskOf(11, (i) => i < 6)];
  const wanted = (i, a, b) => (a && i % 2 ? HIDDEN : b && i >= 6 ? PALE : STRONG);
  for (const [a, b] of [
    [null, null],
    [shown, null],
    [null, selected],
    [shown, selected],
  ]) {
    assert.deepEqual(
      [...looks(11, a, b)],
      [...Array(11).keys()].map((i) => wanted(i, a, b)),
    );
  }
});

test('the middle value is the one in the middle of the sorted values', () => {
  for (let turn = 0; turn < 200; turn += 1) {
    const values = Float32Array.from({ length: 1 + Math.floor(40 * random()) }, () => Math.round(8 * random()) / 4);
    const wanted = values.slice().sort()[values.length >> 1];
    assert.equal(middle(values), wanted);
  }
});

test('crosses that would cover each other are drawn once, those out of sight never', () => {
  const places = [
    [10, 10],
    [11, 11],
    [50, 10],
    [-3, 5],
    [5, 400],
  ];
  assert.deepEqual(apart(places, SIZE), [
    [10, 10],
    [50, 10],
  ]);
});

test('the drawing order of a cloud is the same as ever', () => {
  assert.deepEqual([...drawingOrder(6, 9)], [1, 3, 5, 2, 0, 4, 7, 6, 8]);
});
