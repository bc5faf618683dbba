// The door of Postgres' protocol, opened by node-postgres.
const fs = require("node:fs");
const { Client } = require("pg");
const Cursor = require("pg-cursor");

async function main() {
  const door = JSON.parse(process.env.DOOR);
  const ca = fs.readFileSync(door.sslrootcert, "utf8");
  const client = new Client({ ...door, ssl: { ca, servername: "localhost" } });
  await client.connect();
  const { rows: codes } = await client.query("select code from lake.customers order by 1 limit $1", [2]);
  const { rows } = await client.query({ name: "one", text: "select code, created_at from lake.customers where code = $1 and created_at < $2", values: [codes[0].code, new Date("2030-01-01")] });
  if (!(rows[0].created_at instanceof Date)) throw new Error("an instant is no date");
  const refused = await client.query("insert into lake.customers values (1)").then(() => "nothing", (error) => error.code);
  await client.query("begin");
  const cursor = client.query(new Cursor("select value from generate_series(1, 2500)"));
  const portions = [];
  for (let portion = await cursor.read(1000); portion.length > 0; portion = await cursor.read(1000)) portions.push(portion.length);
  await cursor.close();
  await client.query("rollback");
  await client.end();
  console.log(JSON.stringify({ count: rows.length, refused, cursor: portions }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
