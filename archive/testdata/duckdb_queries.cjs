// Runs SQL statements, a JSON list on standard input, and prints what each
// returned: a JSON list of lists of rows.
//
//	LEAT_DUCKDB=DIR node duckdb_queries.cjs
//
// DIR has @duckdb/node-api in its node_modules.

'use strict';
const fs = require('node:fs');

const library = require.resolve('@duckdb/node-api', { paths: [process.env.LEAT_DUCKDB ?? '.'] });
const { DuckDBInstance } = require(library);

async function main() {
  const connection = await (await DuckDBInstance.create()).connect();
  await connection.run("SET TimeZone = 'UTC'");
  const results = [];
  for (const statement of JSON.parse(fs.readFileSync(0))) {
    const reader = await connection.runAndReadAll(statement).catch((err) => {
      throw new Error(`${err.message}\nin ${statement}`);
    });
    results.push(reader.getRowsJson());
  }
  console.log(JSON.stringify(results));
}

main().catch((err) => {
  console.error(err.message);
  process.exit(1);
});
