import assert from 'node:assert/strict';
import { test } from 'node:test';

import { collection, isHidden } from '../../app/assets/web/upload/collect.js';
import { Transfer } from '../../app/assets/web/upload/transfer.js';

const SYSTEM = ['thumbs.db', '__macosx'];
const entry = (path, content = '') => ({ path, file: new Blob([content]) });
const answer = (value) => new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } });
const refusal = (status, text) => new Response(text, { status, headers: { 'content-type': 'text/plain' } });

/** A server that keeps what arrives; `meddle` may answer in its place. */
function server(meddle = () => undefined) {
  let stream = Buffer.alloc(0);
  const calls = [];
  const fetch = async (url, { body }) => {
    calls.push(url);
    const other = await meddle(url, body, calls.length, (bytes) => (stream = Buffer.concat([stream, bytes])));
    if (other) return other;
    if (url === 'uploads') return answer({ upload: 'id' });
    if (url.endsWith('/finish')) return answer({ name: 'done' });
    const offset = url.match(/\/(\d+)$/)?.[1];
    if (offset !== undefined) {
      if (Number(offset) !== stream.length) return refusal(409, 'out of step');
      stream = Buffer.concat([stream, new Uint8Array(await body.arrayBuffer())]);
    }
    return answer({ received: stream.length });
  };
  return { fetch, calls, text: () => stream.toString() };
}

const FILES = [entry('a', 'one'), entry('empty'), entry('b', 'two two'), entry('c', 'three'), entry('last')];
const transfer = (fetch, part = 4) =>
  new Transfer('photos', FILES, { url: 'uploads', part, fetch, wait: async () => {}, now: () => 0 });

test('the folder that holds everything gives the name, and hidden files are left out', () => {
  const all = ['photos/cat/1.jpg', 'photos/.DS_Store', 'photos/cat/Thumbs.DB', 'photos/.git/x', 'photos/2.jpg'];
  const { name, entries, leftOut } = collection(
    all.map((path) => entry(path)),
    SYSTEM,
  );
  assert.equal(name, 'photos');
  assert.deepEqual(
    entries.map(({ path }) => path),
    ['cat/1.jpg', '2.jpg'],
  );
  assert.equal(leftOut, 3);
});

test('files without a folder keep their names', () => {
  assert.equal(collection([entry('photos.zip')], SYSTEM).name, 'photos.zip');
  const several = collection([entry('a/1.jpg'), entry('b/2.jpg')], SYSTEM);
  assert.deepEqual([several.name, several.entries[0].path], ['images', 'a/1.jpg']);
  assert.deepEqual(collection([entry('.DS_Store')], SYSTEM).entries, []);
  assert.ok(isHidden('a/~$x.csv', SYSTEM) && !isHidden('a/b.c', SYSTEM));
});

test('files become one stream, in parts that span them', async () => {
  const { fetch, calls, text } = server();
  const sending = transfer(fetch);
  assert.equal(await sending.run(), 'done');
  assert.equal(text(), 'onetwo twothree');
  assert.deepEqual(calls.slice(1, -1), ['uploads/id/0', 'uploads/id/4', 'uploads/id/8', 'uploads/id/12']);
  assert.equal(sending.files, FILES.length);
});

test('after a lost connection it goes on where the server is', async () => {
  const { fetch, text } = server(async (url, body, count, keep) => {
    if (count !== 3) return undefined;
    keep(new Uint8Array(await body.slice(0, 2).arrayBuffer()));
    throw new TypeError('network');
  });
  assert.equal(await transfer(fetch).run(), 'done');
  assert.equal(text(), 'onetwo twothree');
});

test('it gives up after a few tries, and at once where the server refuses', async () => {
  const lost = server((url, body, count) => {
    if (count > 1) throw new TypeError('network');
  });
  await assert.rejects(transfer(lost.fetch).run(), TypeError);
  assert.equal(lost.calls.length, 7);
  const full = server((url, body, count) => (count > 1 ? refusal(507, 'The disk is full.\n') : undefined));
  await assert.rejects(transfer(full.fetch).run(), /^Error: The disk is full\.$/);
  assert.equal(full.calls.length, 2);
});

test('parts become smaller where a proxy takes less', async () => {
  const big = [entry('a', 'x'.repeat(3 << 20))];
  const { fetch, text } = server((url, body) => (body?.size > 300_000 ? refusal(413, 'large') : undefined));
  const sending = new Transfer('x', big, { url: 'uploads', part: 1 << 20, fetch, wait: async () => {} });
  assert.equal(await sending.run(), 'done');
  assert.equal(text().length, 3 << 20);
});

test('what is cancelled is not tried again, and the server is told', async () => {
  const { fetch, calls } = server((url) => {
    if (!url.endsWith('/4')) return undefined;
    sending.cancel();
    throw new DOMException('aborted', 'AbortError');
  });
  const sending = transfer(fetch);
  await assert.rejects(sending.run(), { name: 'AbortError' });
  assert.equal(calls.at(-1), 'uploads/id/cancel');
});
