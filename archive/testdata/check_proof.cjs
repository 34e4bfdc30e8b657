// Checks that an event was recorded, with the proof, the event, the public key
// and nothing else:
//
//	node check_proof.cjs PROOF EVENT KEY
//
// It follows docs/format-archive.md and none of Leat's code. EVENT is a file with
// the event as JSON, as `leat read --json` prints it; KEY is a line such as
// leat+8f5c…+A….

'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');

const sha256 = (...parts) => crypto.createHash('sha256').update(Buffer.concat(parts)).digest();
const check = (ok, message) => {
  if (!ok) throw new Error(message);
};

// The event, as it was hashed.

const number = (n) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(BigInt.asUintN(64, BigInt(n)));
  return b;
};
const field = (b) => Buffer.concat([number(Buffer.byteLength(b)), Buffer.from(b)]);

// nanoseconds since 1970 of a time such as 2010-12-01T08:26:00.000000001Z.
function nanoseconds(time) {
  const [, seconds, fraction, zone] = /^([^.Z+]*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  return BigInt(Date.parse(seconds + zone)) * 1000000n + BigInt((fraction ?? '').padEnd(9, '0'));
}

// rawData returns the bytes of the data, which JSON.parse would not keep.
function rawData(text, event) {
  if (event.data_base64 !== undefined) return Buffer.from(event.data_base64, 'base64');
  if (event.data === undefined) return Buffer.alloc(0);
  let at = text.indexOf('{') + 1; // at the beginning of a member
  for (;;) {
    const key = scan(text, at);
    const value = scan(text, key.end + 1);
    if (JSON.parse(key.text) === 'data') return Buffer.from(value.text);
    at = value.end + 1;
  }
}

// scan returns the JSON value that begins at a place: a compact text is assumed.
function scan(text, start) {
  let depth = 0;
  for (let i = start; ; i++) {
    if (text[i] === '"') for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
    if ('{['.includes(text[i])) depth++;
    if ('}]'.includes(text[i]) && depth-- === 0 || depth === 0 && ',:'.includes(text[i])) return { text: text.slice(start, i), end: i };
  }
}

function leaf(text) {
  const e = JSON.parse(text);
  const meta = Object.entries(e.meta ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.concat([
    Buffer.from('leat event 1\n'),
    field(e.id), field(e.stream), field(e.type), field(e.source), number(nanoseconds(e.time)),
    field(e.contenttype), field(rawData(text, e)),
    number(meta.length), ...meta.flatMap(([key, value]) => [field(key), field(value)]),
    number(e.version), number(nanoseconds(e.at)),
  ]);
}

// The checkpoint: a signed note.

function open(note, key) {
  const split = note.lastIndexOf('\n\n');
  check(split > 0, 'the checkpoint is not signed');
  const text = note.slice(0, split + 1);
  const [name, hash, ...rest] = key.trim().split('+');
  const algorithm = Buffer.from(rest.join('+'), 'base64');
  check(algorithm.length === 33 && algorithm[0] === 1, 'not an Ed25519 key');
  check(sha256(Buffer.from(`${name}\n`), algorithm).subarray(0, 4).toString('hex') === hash, 'the key is damaged');
  const publicKey = crypto.createPublicKey({
    format: 'der', type: 'spki', key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), algorithm.subarray(1)]),
  });
  const valid = note.slice(split + 2).split('\n').some((line) => {
    const [dash, signer, base64] = line.split(' ');
    if (dash !== '—' || signer !== name) return false;
    const signature = Buffer.from(base64, 'base64');
    return signature.subarray(0, 4).toString('hex') === hash && crypto.verify(null, Buffer.from(text), publicKey, signature.subarray(4));
  });
  check(valid, 'the checkpoint is not signed with this key');
  const [origin, size, root] = text.split('\n');
  return { origin, size: BigInt(size), root };
}

// The way up from the leaf, as RFC 9162 has it in section 2.1.3.2.

function root(hashes, index, size, hash) {
  check(index < size, 'the index is beyond the checkpoint');
  let [fn, sn] = [index, size - 1n];
  for (const sibling of hashes) {
    check(sn > 0n, 'the proof is too long');
    if (fn % 2n === 1n || fn === sn) {
      hash = sha256(Buffer.from([1]), sibling, hash);
      while (fn % 2n === 0n && fn > 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      hash = sha256(Buffer.from([1]), hash, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  check(sn === 0n, 'the proof is too short');
  return hash.toString('base64');
}

function main([proofFile, eventFile, key]) {
  const proof = fs.readFileSync(proofFile, 'utf8');
  const split = proof.indexOf('\n\n');
  const lines = proof.slice(0, split).split('\n');
  check(lines.shift() === 'c2sp.org/tlog-proof@v1', 'not a proof');
  if (lines[0].startsWith('extra ')) lines.shift();
  const index = BigInt(/^index (\d+)$/.exec(lines.shift())[1]);
  const hashes = lines.map((line) => Buffer.from(line, 'base64'));
  const checkpoint = open(proof.slice(split + 2), key);
  const hash = sha256(Buffer.from([0]), leaf(fs.readFileSync(eventFile, 'utf8')));
  check(root(hashes, index, checkpoint.size, hash) === checkpoint.root, 'the event is not what was recorded there');
  console.log(`recorded as sequence ${index + 1n} of ${checkpoint.origin}, one of ${checkpoint.size} events`);
}

try {
  main(process.argv.slice(2));
} catch (err) {
  console.error(err.message);
  process.exit(1);
}
