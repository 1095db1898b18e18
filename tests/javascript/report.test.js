// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { imageOf as found } from '../../app/assets/web/explore/toolbar.js';
import * as prototypes from '../../app/assets/web/explore/prototypes.js';
import { nameOf, numberIn } from '../../app/assets/web/map/data.js';
import { embeddedTransport } from '../../app/assets/web/report/embedded.js';

test('a file answers with what is in it, and a picture that is not there is none', async () => {
  const content = Buffer.from(new Float32Array([1.5, -2]).buffer);
  const files = {
    'layer/a.bin?source=x': content.toString('base64'),
    'p.json': Buffer.from('{"ü":1}').toString('base64'),
  };
  const transport = embeddedTransport(files, { 'train/3.png': 'data:image/png;base64,AA==' });
  assert.deepEqual([...new Float32Array(await transport.bytes('layer/a.bin?source=x'))], [1.5, -2]);
  assert.deepEqual(await transport.json('p.json'), { ü: 1 });
  await assert.rejects(transport.bytes('toString'), /does not have it/);
  await assert.rejects(transport.send('edits', ''), Error);
  assert.equal(transport.picture('train/3.png'), 'data:image/png;base64,AA==');
  for (const name of ['train/4.png', 'constructor']) assert.equal(transport.picture(name), '');
});

test('where images are left out, the others keep their numbers', () => {
  const numbers = [4, 1700, 2, 9];
  const cloud = /** @type {import('../../app/assets/web/map/data.js').Cloud} */ (
    /** @type {unknown} */ ({ train: 2, total: 4, numbers })
  );
  assert.deepEqual(
    [0, 1, 2, 3].map((i) => numberIn(cloud, i)),
    numbers,
  );
  assert.deepEqual(
    [0, 1, 2].map((i) => numberIn({ ...cloud, numbers: null }, i)),
    [0, 1, 0],
  );
  assert.equal(prototypes.imageTitle(cloud, 1), 'Training image 1,700');
  assert.equal(prototypes.thumbnailOf(cloud, 3), 'test/9.png');
  assert.equal(prototypes.imageOf(cloud, nameOf(cloud, 3)), 3);
  assert.equal(found('train 1700', { train: 2, test: 2, numbers }), 'train-1');
  assert.equal(found('test 9', { train: 2, test: 2, numbers }), 'test-1');
  assert.equal(found('9', { train: 2, test: 2, numbers }), '', 'it is a test image');
});
