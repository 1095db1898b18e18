import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as geometry from '../../app/assets/web/map/geometry.js';
import { overlaps, placed } from '../../app/assets/web/map/labels.js';

// a map 200 pixels wide and high that shows -1…1; y points up
const frame = new geometry.Frame({ x: 0, y: 0, side: 2 }, { width: 200, height: 200 });
const LAYER = { x: [0, 0, 5], y: [0, 0, -5], class: [0, 1, 1], share: [0.25, 1, 0], ghost: [false, false, true] };
const sceneOf = (layer = LAYER, classes = null) => {
  const cloud = {
    train: 1,
    total: 2,
    xs: Float32Array.of(0, 1),
    ys: Float32Array.of(0, -1),
    normal: (value) => value / 10,
    names: [],
    reach: [0.9, 0.9],
  };
  return { frame, cloud, layer, places: geometry.placesOf(cloud, layer), classes: classes && new Set(classes) };
};
const close = (values, wanted) =>
  values.forEach((value, at) => assert.ok(Math.abs(value - wanted[at]) < 1e-9, `${values} is not ${wanted}`));

test('a frame shows its smaller side whole, and more along the other', () => {
  const wide = new geometry.Frame({ x: 0.5, y: -0.5, side: 2 }, { width: 400, height: 200 });
  close([wide.x(0.5), wide.y(-0.5), wide.x(2.5), wide.y(0.5)], [200, 100, 400, 0]);
  assert.equal(wide.span, 4);
});

test('a point on the screen leads back to the map', () => {
  const some = new geometry.Frame({ x: 0.3, y: -0.2, side: 0.1 }, { width: 333, height: 517 });
  for (const [x, y] of [
    [0.31, -0.25],
    [-1, 1],
  ]) {
    close(some.back([some.x(x), some.y(y)]), [x, y]);
  }
});

test('all images are seen in a window of any shape', () => {
  const cloud = { reach: [0.95, 0.4] };
  for (const [width, height] of [
    [1000, 500],
    [500, 1000],
    [300, 300],
    [0, 0],
  ]) {
    const { scale } = new geometry.Frame(geometry.whole(cloud, { width, height }), { width, height });
    const [across, up] = [(2 * 0.95 * scale) / Math.max(1, width), (2 * 0.4 * scale) / Math.max(1, height)];
    assert.ok(across < 1 && up < 1 && Math.max(across, up) > 0.9, `${width} by ${height}: ${across}, ${up}`);
  }
});

test('all images are seen beside what covers the map at its edges', () => {
  const size = { width: 1000, height: 500 };
  const seen = new geometry.Frame(geometry.whole({ reach: [0.95, 0.2] }, size, { right: 300, bottom: 100 }), size);
  const [left, right] = [seen.x(-0.95), seen.x(0.95)];
  assert.ok(left > 0 && right < 700 && right - left > 630, `from ${left} to ${right}`);
  assert.ok(Math.abs((seen.y(0.2) + seen.y(-0.2)) / 2 - 200) < 1e-9, 'in the middle of what is free');
});

test('zooming keeps what is at a point there, and stops at bounds', () => {
  const before = new geometry.Frame({ x: 0.2, y: 0.1, side: 1 }, { width: 300, height: 200 });
  const after = new geometry.Frame(geometry.zoomed(before, 0.5, [70, 150]), before.size);
  assert.equal(after.camera.side, 0.5);
  close(after.back([70, 150]), before.back([70, 150]));
  assert.equal(geometry.zoomed(before, 1e-9).side, 1e-4);
  assert.equal(geometry.zoomed(before, 1e9).side, 6);
});

test('dragging moves the map along with the hand, and never out of sight', () => {
  close(Object.values(geometry.panned(frame, 10, -20)), [-0.1, -0.2, 2]);
  close(Object.values(geometry.panned(frame, -1e6, 1e6)), [1, 1, 2]);
});

test('many prototypes are drawn smaller, within bounds', () => {
  assert.deepEqual([1, 150, 600, 1e6].map(geometry.sizeFor), [1, 1, 0.5, 0.4]);
});

test('a prototype is larger when it stands for more images', () => {
  assert.deepEqual(
    [0, 1, 2].map((p) => geometry.sideOf(sceneOf(), p)),
    [9, 14.399999999999999, 3.5999999999999996],
  );
});

test('images and prototypes are placed on the screen', () => {
  const scene = sceneOf();
  assert.deepEqual(geometry.imagePlace(scene, 1), [200, 200]);
  assert.deepEqual(geometry.prototypePlace(scene, 2), [150, 150]);
});

test('a ring lies around what is selected', () => {
  const scene = sceneOf();
  assert.deepEqual(geometry.ringOf(scene, 'prototype-1'), { place: [100, 100], radius: 18.4 });
  assert.deepEqual(geometry.ringOf(scene, 'test-0'), { place: [200, 200], radius: 9 });
  assert.equal(geometry.ringOf(scene, 'prototype-3'), null);
});

test('the uppermost prototype under the pointer is hit', () => {
  const scene = sceneOf();
  assert.equal(geometry.prototypeUnder(scene, [100, 100]), 0);
  assert.equal(geometry.prototypeUnder(scene, [106, 100]), 0); // half a side and two pixels
  assert.equal(geometry.prototypeUnder(scene, [108, 100]), 1); // the larger one below it
  assert.equal(geometry.prototypeUnder(scene, [110, 100]), -1);
  assert.equal(geometry.prototypeUnder(scene, [155, 150]), 2); // a ghost reaches its whole side
});

test('what is not shown is not hit', () => {
  assert.equal(geometry.prototypeUnder(sceneOf(LAYER, [1]), [100, 100]), 1);
  assert.equal(geometry.prototypeUnder(sceneOf(LAYER, []), [100, 100]), -1);
});

test('the keyboard goes to the prototype ahead, rather near and straight than aside', () => {
  const layer = { ...LAYER, x: [0, 3, 2.5, -4], y: [0, 0, 2, 0], class: [0, 0, 0, 1], share: [1, 1, 1, 1] };
  const to = (classes, from, direction) => geometry.prototypeTowards(sceneOf(layer, classes), from, direction);
  assert.equal(to(null, [100, 100], [1, 0]), 1);
  assert.equal(to(null, [100, 100], [0, -1]), 2);
  assert.equal(to(null, [100, 100], [-1, 0]), 3);
  assert.equal(to([0], [100, 100], [-1, 0]), -1); // not shown
  assert.equal(to(null, [100, 100], [0, 1]), -1);
});

test('the tool tip lies beside its place and within the map', () => {
  const [tip, map] = [
    { width: 100, height: 40 },
    { width: 400, height: 300 },
  ];
  assert.deepEqual(geometry.tipCorner([100, 150], tip, map), [116, 130]);
  assert.deepEqual(geometry.tipCorner([300, 150], tip, map), [184, 130]); // no room to the right
  assert.deepEqual(geometry.tipCorner([100, 5], tip, map), [116, 4]);
  assert.deepEqual(geometry.tipCorner([100, 299], tip, map), [116, 256]);
  assert.deepEqual(geometry.tipCorner([60, 5], { width: 380, height: 310 }, map), [4, 4]); // larger than the map
});

test('a link names the middle and the smaller side of what is seen, and leads back to it', () => {
  assert.equal(geometry.viewText({ x: 0.1, y: 0.3, side: 0.4 }), '0.1000_0.3000_0.4000');
  assert.equal(geometry.viewText({ x: 0, y: 0, side: 1e-6 }), '0.0000_0.0000_0.0001');
  assert.deepEqual(geometry.viewCamera('0.5000_-0.2500_0.5000'), { x: 0.5, y: -0.25, side: 0.5 });
});

test('names collide with no prototype and no other name, and are left out where there is no room', () => {
  let state = 7;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const many = Array.from({ length: 40 }, () => 20 * random() - 10);
  const layer = { x: many, y: [...many].reverse(), class: many.map(() => 0), share: many.map(random), ghost: [] };
  const scene = sceneOf(layer);
  scene.cloud.names = Array.from({ length: 12 }, (_, label) => [label, 2 * random() - 1, 2 * random() - 1]);
  const boxes = placed(scene, () => 40, []).map(({ x, y }) => ({
    left: x - 20,
    right: x + 20,
    top: y - 8,
    bottom: y + 8,
  }));
  assert.ok(boxes.length >= 6, `${boxes.length} names`);
  const squares = many.map((_, p) => {
    const [x, y] = geometry.prototypePlace(scene, p);
    const reach = geometry.reachOf(scene, p);
    return { left: x - reach, right: x + reach, top: y - reach, bottom: y + reach };
  });
  boxes.forEach((box, at) => {
    for (const other of [...squares, ...boxes.slice(0, at)]) assert.ok(!overlaps(box, other));
  });
  const full = { ...layer, x: [0], y: [0], share: [1], class: [0] };
  const crowded = sceneOf({ ...full, x: [0], y: [0] });
  crowded.cloud.names = [[0, 0, 0]];
  assert.equal(placed(crowded, () => 2000, []).length, 1); // above it
  assert.equal(placed({ ...crowded, classes: new Set([1]) }, () => 40, []).length, 0);
  const covered = { left: -1e4, top: -1e4, right: 1e4, bottom: 1e4 };
  assert.equal(placed(crowded, () => 40, [covered]).length, 0);
});
