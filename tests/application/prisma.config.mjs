// Lets Prisma's command line read a database through the adapters, with its engine in WebAssembly: nothing is downloaded.
import { PrismaBetterSQLite3 } from "@prisma/adapter-better-sqlite3";
import { PrismaPg } from "@prisma/adapter-pg";
import pg from "pg";
import { defineConfig } from "prisma/config";

const url = process.env.DATABASE_URL;
// PostgreSQL's catalogue has types that the adapter does not know: "char", name, and lists of them.
const CHAR = 18;
const AS_TEXT = { [CHAR]: 25, 19: 25, 1002: 1009, 1003: 1009 };
const CHARACTER = 6;

class Pool extends pg.Pool {
  async query(...query) {
    const result = await super.query(...query);
    for (const field of result.fields) {
      if (field.dataTypeID === CHAR) Catalogue.characters.add(field.name);
      field.dataTypeID = AS_TEXT[field.dataTypeID] ?? field.dataTypeID;
    }
    return result;
  }
}

class Catalogue extends PrismaPg {
  static characters = new Set();

  async connect() {
    const adapter = await super.connect();
    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (query) => {
      const result = await queryRaw(query);
      for (const [index, name] of result.columnNames.entries()) {
        if (Catalogue.characters.has(name)) result.columnTypes[index] = CHARACTER;
      }
      return result;
    };
    return adapter;
  }
}

export default defineConfig({
  experimental: { adapter: true },
  engine: "js",
  adapter: async () =>
    url.startsWith("file:") ? new PrismaBetterSQLite3({ url }) : new Catalogue(new Pool({ connectionString: url })),
});
