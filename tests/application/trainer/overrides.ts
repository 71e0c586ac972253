// The administrators' pages: a dataset is imported, edited as any text, and activated; one at most is active.
import { prisma } from "./lib/prisma.js";

export async function save(createdById: number, name: string, jsonText: string, description = "") {
  return prisma.datasetOverride.upsert({
    where: { name },
    update: { jsonText, description },
    create: { name, jsonText, description, createdById },
  });
}

export async function activate(id: number) {
  await prisma.$transaction([
    prisma.datasetOverride.updateMany({ where: { isActive: true }, data: { isActive: false } }),
    prisma.datasetOverride.update({ where: { id }, data: { isActive: true } }),
  ]);
}

export async function active() {
  return prisma.datasetOverride.findFirst({
    where: { isActive: true },
    orderBy: { updatedAt: "desc" },
    include: { createdBy: { select: { email: true } } },
  });
}
