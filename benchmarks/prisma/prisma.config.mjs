// Prisma's command line on its engine in WebAssembly, which npm installs; the native one is a download of its own.
import { PrismaBetterSQLite3 } from "@prisma/adapter-better-sqlite3";
import { defineConfig } from "prisma/config";

export default defineConfig({
  experimental: { adapter: true },
  engine: "js",
  schema: "schema.prisma",
  migrations: { path: "migrations", seed: "node seed.mjs" },
  adapter: async () => new PrismaBetterSQLite3({ url: process.env.DATABASE_URL }, { timestampFormat: "iso8601" }),
});
