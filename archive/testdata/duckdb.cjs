// Reads the archive of a log with DuckDB, a reader that is not ours, and prints
// per shard what it holds:
//
//	LEAT_DUCKDB=DIR node duckdb.cjs STORE LOG
//
// DIR has @duckdb/node-api in its node_modules. It follows
// docs/format-archive.md alone: the chain of manifests, the hashes of the
// objects, and the leaf hash of every event, computed again.

'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const library = require.resolve('@duckdb/node-api', { paths: [process.env.LEAT_DUCKDB ?? '.'] });
const { DuckDBInstance } = require(library);

const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');
const check = (ok, message) => {
  if (!ok) throw new Error(message);
};

// manifests returns a shard's manifests once their chain is checked.
function manifests(folder) {
  let previous = '';
  return fs.readdirSync(folder).filter((name) => /^\d{20}\.json$/.test(name)).sort().map((name, i) => {
    const data = fs.readFileSync(path.join(folder, name));
    const manifest = JSON.parse(data);
    check(manifest.format === 1, `${name}: format ${manifest.format}`);
    check(manifest.number === i + 1, `${name}: number ${manifest.number}`);
    check(manifest.previous === previous, `${name}: previous ${manifest.previous}, want ${previous}`);
    previous = sha256(data);
    return manifest;
  });
}

// Text goes through hexadecimal, so that no byte of it can change on the way.
const query = (file) => `
  SELECT shard, seq, commit, version,
         hex(encode(event_id)), hex(encode(stream)), hex(encode(category)), hex(encode(type)), hex(encode(source)),
         time_ns, at_ns, hex(encode(content_type)), hex(data),
         list_transform(map_entries(meta), lambda e: [hex(encode(e.key)), hex(encode(e.value))]),
         hex(leaf_hash),
         epoch_us("time") = time_ns // 1000 - (time_ns % 1000 < 0)::INT AND epoch_us("at") = at_ns // 1000
  FROM read_parquet('${file.replaceAll("'", "''")}') ORDER BY seq`;

const bytes = (hex) => Buffer.from(hex, 'hex');
const number = (n) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(BigInt.asUintN(64, BigInt(n)));
  return b;
};
const field = (b) => [number(b.length), b];

function leafHash(e) {
  return sha256(Buffer.concat([
    Buffer.from('\0leat event 1\n'),
    ...field(e.id), ...field(e.stream), ...field(e.type), ...field(e.source), number(e.time),
    ...field(e.contentType), ...field(e.data),
    number(e.meta.length), ...e.meta.flatMap(([key, value]) => [...field(key), ...field(value)]),
    number(e.version), number(e.at),
  ]));
}

async function readShard(connection, root, shard) {
  const found = { events: 0, data_bytes: 0, segments: 0 };
  const data = crypto.createHash('sha256');
  let next = 1n;
  for (const { segment } of manifests(path.join(root, 'manifests', shard))) {
    if (!segment) continue;
    const file = path.join(root, segment.object);
    check(sha256(fs.readFileSync(file)) === segment.sha256, `${file}: its SHA-256 is not the manifest's`);
    found.segments++;
    const result = await connection.stream(query(file));
    for (let chunk = await result.fetchChunk(); chunk && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
      for (const row of chunk.getRows()) {
        const e = {
          id: bytes(row[4]), stream: bytes(row[5]), category: bytes(row[6]), type: bytes(row[7]), source: bytes(row[8]),
          time: row[9], at: row[10], contentType: bytes(row[11]), data: bytes(row[12]), version: row[3],
          meta: row[13].items.map((pair) => pair.items.map(bytes)),
        };
        const where = `${file}, sequence ${row[1]}`;
        check(row[0] === shard && row[1] === next, `${where}: shard ${row[0]}, want ${shard}, sequence ${next}`);
        check(row[2] <= row[1], `${where}: commit ${row[2]}`);
        check(e.category.toString() === e.stream.toString().split('-')[0], `${where}: category ${e.category}`);
        check(leafHash(e) === row[14].toLowerCase(), `${where}: another leaf hash`);
        check(row[15], `${where}: time and time_ns, or at and at_ns, differ`);
        data.update(e.data);
        found.data_bytes += e.data.length;
        found.events++;
        next++;
      }
    }
  }
  return { ...found, data_sha256: data.digest('hex') };
}

// The query that docs/format-archive.md gives for all segments at once.
async function countAll(connection, root) {
  await connection.run(`SET VARIABLE segments = (
    SELECT list('${root}/' || segment.object ORDER BY shard, number)
    FROM read_json('${root}/manifests/*/*.json', union_by_name = true) WHERE segment IS NOT NULL)`);
  const reader = await connection.runAndReadAll(
    `SELECT count(*), sum(octet_length(data)) FROM read_parquet(getvariable('segments'))`);
  return reader.getRows()[0].map(Number);
}

async function main() {
  const root = path.join(process.argv[2], process.argv[3]);
  const connection = await (await DuckDBInstance.create()).connect();
  await connection.run("SET TimeZone = 'UTC'");
  const shards = {};
  for (const shard of fs.readdirSync(path.join(root, 'manifests')).sort()) {
    shards[shard] = await readShard(connection, root, shard);
  }
  const [events, dataBytes] = await countAll(connection, root);
  console.log(JSON.stringify({ events, data_bytes: dataBytes, shards }, null, 2));
}

main().catch((err) => {
  console.error(err.message);
  process.exit(1);
});
