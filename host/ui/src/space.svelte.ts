// The space that the server holds: what `/info` says.
import { info, type Info } from "./api";

class Space {
  info = $state.raw<Info | null>(null);
  problem = $state<Error | null>(null);

  async load() {
    this.problem = null;
    try {
      this.info = await info();
    } catch (error) {
      this.problem = error as Error;
    }
  }

  gallery(name: string) {
    return this.info?.galleries.find((gallery) => gallery.name === name);
  }

  towers(modality: string) {
    return this.info?.towers.filter((tower) => tower.modality === modality) ?? [];
  }
}

export const space = new Space();
