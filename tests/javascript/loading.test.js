// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Loading } from '../../app/assets/web/explore/loading.js';

/** @typedef {import('../../app/assets/web/explore/state.js').WorkspaceData} WorkspaceData */

const KS = [1, 2, 3, 4, 5];
const data = /** @type {WorkspaceData} */ (
  /** @type {unknown} */ ({
    sources: Object.fromEntries(KS.map((k) => [`k${k}`, { layer: `layer/${k}.bin` }])),
    unconverted: ['k2', 'k5'],
    timeline: { ks: KS, sources: KS.map((k) => `k${k}`) },
  })
);

/** A layer without prototypes and images, as the workspace answers it. */
function layer() {
  const header = new TextEncoder().encode('{"prototypes":{"class":[]},"columns":{"nearest":["uint8",0]}}');
  const bytes = new Uint8Array(Math.ceil((4 + header.length) / 8) * 8);
  new DataView(bytes.buffer).setUint32(0, header.length, true);
  bytes.set(header, 4);
  return bytes.buffer;
}

/** @param {(address: string) => Promise<ArrayBuffer>} [answer] */
function loadingWith(answer = async () => layer()) {
  /** @type {string[]} */
  const asked = [];
  const transport = {
    bytes: (/** @type {string} */ address) => {
      asked.push(address);
      return answer(address);
    },
    json: () => Promise.reject(new Error()),
    send: () => Promise.reject(new Error()),
    picture: () => '',
  };
  return { asked, loading: new Loading(transport) };
}

test('before anybody uses the map, only prototypes that are converted are fetched ahead, the nearest first', async () => {
  const { asked, loading } = loadingWith();
  let came = 0;
  await loading.ahead(data, 'k3', false, () => (came += 1));
  assert.deepEqual(asked, ['layer/3.bin', 'layer/4.bin', 'layer/1.bin']);
  assert.equal(came, 3);
  await loading.ahead(data, 'k3', true, () => (came += 1));
  assert.deepEqual(asked.slice(3), ['layer/2.bin', 'layer/5.bin']); // the others are here
  assert.equal(came, 5);
  assert.ok(KS.every((k) => loading.layerHere(data, `k${k}`)));
});

test('what is shown is fetched, converted or not, and one failure does not end the others', async () => {
  const { asked, loading } = loadingWith(async (address) => {
    if (address === 'layer/4.bin') throw new Error('lost');
    return layer();
  });
  await loading.layer(data, 'k2');
  await loading.ahead(data, 'k3', false, () => {});
  assert.deepEqual(asked, ['layer/2.bin', 'layer/3.bin', 'layer/4.bin', 'layer/1.bin']);
});
