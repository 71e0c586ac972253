// The seed as an application on Prisma writes it: an upsert for each row, passwords hashed by bcryptjs.
import { readFileSync } from "node:fs";
import { PrismaBetterSQLite3 } from "@prisma/adapter-better-sqlite3";
import { PrismaClient } from "@prisma/client";
import bcrypt from "bcryptjs";

const adapter = new PrismaBetterSQLite3({ url: process.env.DATABASE_URL }, { timestampFormat: "iso8601" });
const prisma = new PrismaClient({ adapter });
const { users, progress } = JSON.parse(readFileSync("seed.json", "utf8"));
const ids = new Map();

for (const { email, password, role, language } of users) {
  const passwordHash = await bcrypt.hash(password, 10);
  const user = await prisma.user.upsert({
    where: { email },
    update: { passwordHash },
    create: { email, passwordHash, role, settings: { create: { language } } },
  });
  ids.set(email, user.id);
}
for (const { email, key, counts } of progress) {
  const tag = { userId: ids.get(email), ...key };
  const lastAttemptAt = new Date();
  await prisma.progressByTag.upsert({
    where: { userId_module_courseBlock_tag: tag },
    update: { lastAttemptAt },
    create: { ...tag, ...counts, lastAttemptAt },
  });
}
await prisma.$disconnect();
