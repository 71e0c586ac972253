// The seed as Prisma's guide writes one: the rows of pharmdb's own seed files, upserted by the trainer's client.
import { readFileSync } from "node:fs";
import bcrypt from "bcryptjs";
import { prisma } from "./dist/lib/prisma.js";

const { users, progress } = JSON.parse(readFileSync("seed.json", "utf8"));

for (const { email, password, role, language } of users) {
  const passwordHash = await bcrypt.hash(password, 10);
  const user = await prisma.user.upsert({
    where: { email },
    update: { passwordHash },
    create: { email, passwordHash, role },
  });
  await prisma.userSettings.upsert({
    where: { userId: user.id },
    update: {},
    create: { userId: user.id, language },
  });
}
for (const { user_email: email, module, course_block: courseBlock, tag, ...counts } of progress) {
  const { id: userId } = await prisma.user.findUniqueOrThrow({ where: { email } });
  const key = { userId, module, courseBlock, tag };
  await prisma.progressByTag.upsert({
    where: { userId_module_courseBlock_tag: key },
    update: { lastAttemptAt: new Date() },
    create: {
      ...key,
      correctCount: Number(counts.correct_count),
      wrongCount: Number(counts.wrong_count),
    },
  });
}
await prisma.$disconnect();
