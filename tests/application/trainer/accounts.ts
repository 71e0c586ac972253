// Accounts as the trainer's routes and scripts make, check and delete them.
import bcrypt from "bcryptjs";
import { prisma } from "./lib/prisma.js";

export async function register(email: string, password: string, language = "en") {
  return prisma.user.create({
    data: {
      email: email.toLowerCase(),
      passwordHash: await bcrypt.hash(password, 10),
      settings: { create: { language } },
    },
    include: { settings: true },
  });
}

/** The user's id and role, as the session keeps them; null where the e-mail or the password is wrong. */
export async function logIn(email: string, password: string) {
  const user = await prisma.user.findUnique({ where: { email: email.toLowerCase() } });
  if (user === null || !(await bcrypt.compare(password, user.passwordHash))) return null;
  return { id: user.id, role: user.role };
}

export async function setLanguage(userId: number, language: string) {
  return prisma.userSettings.upsert({
    where: { userId },
    update: { language },
    create: { userId, language },
  });
}

export async function promote(email: string) {
  return prisma.user.update({ where: { email }, data: { role: "ADMIN" } });
}

export async function deleteAccount(id: number) {
  return prisma.user.delete({ where: { id } });
}
