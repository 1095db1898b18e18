import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Layers } from '../../app/assets/web/large/layers.js';
import { TileStore, nameOf } from '../../app/assets/web/large/store.js';
import {
  BINS,
  about,
  binAt,
  boxOf,
  levelFor,
  pixels,
  readTile,
  seen,
  within,
} from '../../app/assets/web/large/tile.js';
import { Frame } from '../../app/assets/web/map/geometry.js';

const frameOf = (side, x = 0, y = 0, size = { width: 512, height: 512 }) => new Frame({ x, y, side }, size);

// entries as [row, column, class, count, wrong, example], as kmex_core.scale.tiles writes them
const bufferOf = (entries) => {
  const buffer = new ArrayBuffer(4 + 16 * entries.length);
  const view = new DataView(buffer);
  view.setUint32(0, entries.length, true);
  const n = entries.length;
  entries.forEach(([row, column, label, count, wrong, example], i) => {
    view.setUint16(4 + 2 * i, row * BINS + column, true);
    view.setUint16(4 + 2 * n + 2 * i, label, true);
    view.setUint32(4 + 4 * n + 4 * i, count, true);
    view.setUint32(4 + 8 * n + 4 * i, wrong, true);
    view.setUint32(4 + 12 * n + 4 * i, example, true);
  });
  return buffer;
};
const ENTRIES = [
  [0, 0, 0, 5, 1, 70],
  [0, 0, 1, 9, 9, 80],
  [255, 255, 2, 1, 0, 4_000_000_000],
];

test('a tile is read column by column, and one of another length is damaged', () => {
  const tile = readTile(bufferOf(ENTRIES));
  assert.deepEqual([...tile.place], [0, 0, 65535]);
  assert.deepEqual([...tile.label], [0, 1, 2]);
  assert.deepEqual([...tile.count], [5, 9, 1]);
  assert.deepEqual([...tile.wrong], [1, 9, 0]);
  assert.deepEqual([...tile.example], [70, 80, 4_000_000_000]);
  for (const length of [0, 3, 4 + 16 * 3 - 1, 4 + 16 * 3 + 1])
    assert.throws(() => readTile(bufferOf([...ENTRIES, ENTRIES[0]]).slice(0, length)), RangeError);
});

test('a bin is at least a pixel, and less than two until there are no finer ones', () => {
  for (const side of [6, 2, 1.3, 0.5, 0.11, 0.01, 1e-4]) {
    const frame = frameOf(side);
    const level = levelFor(frame, 5);
    const pixel = (2 * frame.scale) / (BINS * 2 ** level);
    assert.ok(level === 5 || level === 0 || (pixel >= 1 && pixel < 2), `${side}: ${level}, ${pixel}`);
    assert.ok(level < 5 || pixel >= 1);
  }
});

test('the tiles that are seen cover what is seen, and no more', () => {
  assert.deepEqual(seen(frameOf(2), 0), [{ level: 0, column: 0, row: 0 }]);
  const names = seen(frameOf(0.6, 0.5, -0.5), 2).map(nameOf);
  assert.deepEqual(names, ['2/2-0', '2/3-0', '2/2-1', '2/3-1']);
  assert.equal(seen(frameOf(6), 3).length, 64, 'what is beside the map has no tiles');
});

test('a tile and the part of a coarser one are at the same place', () => {
  const frame = frameOf(1.7, 0.3, -0.2);
  const address = { level: 3, column: 5, row: 2 };
  for (const level of [2, 1, 0]) {
    const { address: above, left, top, bins } = within(address, level);
    const [own, whole] = [boxOf(frame, address), boxOf(frame, above)];
    const bin = whole.side / BINS;
    for (const [one, other] of [
      [whole.x + left * bin, own.x],
      [whole.y + top * bin, own.y],
      [bins * bin, own.side],
    ])
      assert.ok(Math.abs(one - other) < 1e-9, `${level}: ${one} is not ${other}`);
  }
});

test('the bin at a point is the one that is drawn there', () => {
  const frame = frameOf(1, 0.4, 0.1);
  const found = binAt(frame, [37, 401], 4);
  assert.ok(found);
  const box = boxOf(frame, found.address);
  const bin = box.side / BINS;
  const [x, y] = [box.x + found.column * bin, box.y + (BINS - 1 - found.row) * bin];
  assert.ok(x <= 37 && 37 < x + bin && y <= 401 && 401 < y + bin);
  assert.equal(binAt(frameOf(6), [0, 0], 2), null);
});

test('what is near a point is said of the nearest bin, most images first', () => {
  const tile = readTile(bufferOf(ENTRIES));
  const found = about(tile, { column: 2, row: 1 }, 3, null);
  assert.deepEqual(found, {
    count: 14,
    wrong: 10,
    example: 80,
    classes: [
      [1, 9],
      [0, 5],
    ],
  });
  assert.equal(about(tile, { column: 2, row: 1 }, 1, null), null);
  assert.equal(about(tile, { column: 0, row: 0 }, 0, new Set([0]))?.count, 5);
  assert.equal(about(tile, { column: 0, row: 0 }, 0, new Set([2])), null);
});

test('bins are painted by their largest class, by density, or by errors', () => {
  const tile = readTile(bufferOf(ENTRIES));
  const colours = [
    [10, 0, 0],
    [20, 0, 0],
    [30, 0, 0],
  ];
  const look = { by: 'class', colours, classes: null, most: 14 };
  const lowest = 4 * (BINS - 1) * BINS; // the first bin of the row that is at the bottom
  const painted = pixels(tile, look);
  assert.deepEqual([...painted.slice(lowest, lowest + 4)], [20, 0, 0, 255]);
  const last = [...painted.slice(4 * (BINS - 1), 4 * BINS)];
  assert.equal(last[0], 30);
  assert.ok(last[3] > 100 && last[3] < 255, 'one image is paler than fourteen');
  assert.equal(painted.filter((value, at) => at % 4 === 3 && value).length, 2, 'bins without images are not painted');
  assert.equal(pixels(tile, { ...look, classes: new Set([0]) })[lowest], 10);
  assert.equal(pixels(tile, { ...look, by: 'density' })[lowest], 30);
  const [right, wrong] = [0, 200].map((red) => [red, 0, 0]);
  const errors = pixels(tile, { ...look, by: 'wrong', colours: [right, wrong] });
  assert.equal(errors[lowest], Math.round(200 * Math.sqrt(10 / 14)));
  assert.equal(errors[4 * (BINS - 1)], 0);
});

test('a store asks for a bounded number of tiles that there are, and gives up those that are no longer seen', async () => {
  const asked = [];
  const ended = [];
  const answers = new Map();
  const ask = (address, { signal }) =>
    new Promise((resolve, reject) => {
      asked.push(address);
      answers.set(address, resolve);
      signal.addEventListener('abort', () => {
        ended.push(address);
        reject(new Error('aborted'));
      });
    });
  const errors = [];
  const present = [[0], [0, 3], Array.from({ length: 16 }, (_, i) => i)];
  const store = new TileStore('base/', present, (error) => errors.push(error), ask);
  store.want([
    { level: 1, column: 1, row: 0 },
    { level: 1, column: 1, row: 1 },
    { level: 0, column: 0, row: 0 },
  ]);
  assert.deepEqual(asked, ['base/1/1-1.tile', 'base/0/0-0.tile'], 'there is no tile 1/1-0');
  store.want([{ level: 0, column: 0, row: 0 }]);
  assert.deepEqual(ended, ['base/1/1-1.tile']);
  answers.get('base/0/0-0.tile')({ ok: true, arrayBuffer: async () => bufferOf(ENTRIES) });
  await new Promise((done) => setTimeout(done));
  assert.equal(store.get({ level: 0, column: 0, row: 0 })?.count[0], 5);
  assert.deepEqual(errors, ['']);
  store.want(Array.from({ length: 16 }, (_, i) => ({ level: 2, column: i % 4, row: i >> 2 })));
  assert.equal(asked.length - 2, 6, 'at once');
  for (const address of asked.slice(2)) answers.get(address)({ ok: true, arrayBuffer: async () => new ArrayBuffer(7) });
  await new Promise((done) => setTimeout(done));
  assert.ok(errors.at(-1).includes('damaged'));
  store.want([{ level: 2, column: 0, row: 0 }]);
  assert.equal(asked.length, 8, 'what is damaged is not asked for again');
});

const layerData = (n, places = true) => ({
  listed: [0],
  class: Array(n).fill(0),
  x: places ? Array(n).fill(0.5) : [],
  y: places ? Array(n).fill(0.5) : [],
  far: places ? Array(n).fill(false) : [],
  share: Array(n).fill(1 / n),
  count: Array(n).fill(3),
  ghost: Array(n).fill(false),
  nearest: Array.from({ length: n }, (_, p) => (p ? [p, 7] : [])),
  title: Array(n).fill('Prototype'),
  about: Array(n).fill(''),
});

test('layers are asked for once, those of neighbouring numbers ahead and one at a time', async () => {
  const asked = [];
  const answers = new Map();
  const ask = (address) => {
    asked.push(address);
    return new Promise((resolve, reject) => answers.set(address, { resolve, reject }));
  };
  const settled = () => new Promise((done) => setTimeout(done));
  const layers = new Layers(ask);
  const first = layers.get('b');
  assert.equal(layers.get('b'), first);
  assert.equal(layers.here('b'), undefined);
  answers.get('b').resolve(layerData(2));
  assert.deepEqual((await first).placed.picture, [-1, 1], 'a prototype without an image has no picture');
  assert.equal(layers.here('b'), await first);
  void layers.ahead(['a', 'b', 'c'], 'b');
  await settled();
  assert.deepEqual(asked, ['b', 'c']);
  answers.get('c').reject(new Error('gone'));
  await settled();
  assert.deepEqual(asked, ['b', 'c', 'a'], 'one that fails does not keep the others');
  assert.equal(layers.here('c'), undefined);
  layers.stop();
  answers.get('a').resolve(layerData(1, false));
  await settled();
  assert.equal(layers.here('a').placed.x.length, 0, 'without places the map shows none');
  assert.equal(layers.here('a').data.class.length, 1);
  void layers.get('c');
  assert.deepEqual(asked, ['b', 'c', 'a', 'c'], 'what failed is asked for again');
});

test('a newer slide overtakes what is fetched ahead', async () => {
  const asked = [];
  const layers = new Layers(async (address) => {
    asked.push(address);
    return layerData(1);
  });
  const overtaken = layers.ahead(['a', 'b', 'c', 'd'], 'a');
  await Promise.all([overtaken, layers.ahead(['a', 'b', 'c', 'd'], 'd')]);
  assert.deepEqual(asked, ['a', 'd', 'c', 'b']);
});
