// Pictures and sounds that were dropped, chosen or recorded. The address names them by number, so Back finds them
// again until the page is left.
export interface Kept { kind: "image" | "audio"; name: string; bytes: Blob; url: string }

const MOST = 20;
const kept = new Map<string, Kept>();
let last = 0;

const ENDINGS = {
  image: /\.(png|jpe?g|gif|webp|bmp|tiff?|svg|avif|ico|pnm|ppm|pgm|qoi|tga|hdr|exr)$/i,
  audio: /\.(wav|ogg|oga|opus|mp3|flac|m4a|aac|aiff?|caf|mka|webm|mp4)$/i,
};

export function kind({ name, type }: File): Kept["kind"] | undefined {
  if (type.startsWith("image/") || ENDINGS.image.test(name)) return "image";
  if (type.startsWith("audio/") || ENDINGS.audio.test(name)) return "audio";
}

export function keep(kind: Kept["kind"], name: string, bytes: Blob): string {
  kept.set(String(++last), { kind, name, bytes, url: URL.createObjectURL(bytes) });
  const old = String(last - MOST);
  const gone = kept.get(old);
  if (gone) URL.revokeObjectURL(gone.url);
  kept.delete(old);
  return String(last);
}

export const file = (number: string) => kept.get(number);

export function dataUrl(bytes: Blob): Promise<string> {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result as string);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(bytes);
  });
}
