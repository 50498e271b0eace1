// Some 40 made-up items in three galleries, and their places in a made-up space.
import { createHash } from "node:crypto";
import { picture } from "./picture.mjs";
import { sound } from "./sound.mjs";

const COLOURS = ["red", "green", "blue", "yellow"];
const SHAPES = ["circle", "square", "triangle", "ring"];
const TONES = ["low", "deep", "middle", "clear", "bright", "high", "sharp", "thin"];
const WIDTH = 32;

/** Words point in directions of their own: what shares words is near. */
export function embed(text) {
  const sum = new Float64Array(WIDTH);
  for (const word of text.toLowerCase().match(/[a-z0-9]+/g) ?? [text]) {
    if (["a", "an", "the", "of", "with"].includes(word)) continue;
    const hash = createHash("sha256").update(word).digest();
    for (let d = 0; d < WIDTH; d++) sum[d] += hash[d] / 127.5 - 1;
  }
  const length = Math.hypot(...sum) || 1;
  return sum.map((value) => value / length);
}

const pictures = COLOURS.flatMap((colour, c) =>
  SHAPES.map((shape, s) => ({
    id: `shapes/${colour}/${shape}.png`, item: `/data/shapes/${colour}/${shape}.png`, type: "image/png",
    bytes: picture(colour, shape), says: `${colour} ${shape}`,
    metadata: { item: `/data/shapes/${colour}/${shape}.png`, caption: `a ${colour} ${shape}`, kind: s % 2 ? "drawing" : "photo", year: 1985 + 4 * c + s },
  })),
);
const sounds = TONES.map((tone, t) => ({
  id: `tones/${tone}.wav`, item: `/data/tones/${tone}.wav`, type: "audio/wav", bytes: sound(180 * 1.3 ** t), says: `${tone} tone ${COLOURS[t % 4]}`,
  metadata: { item: `/data/tones/${tone}.wav`, caption: `a ${tone} tone`, kind: "tone", hertz: Math.round(180 * 1.3 ** t) },
}));
const texts = COLOURS.flatMap((colour, c) =>
  SHAPES.map((shape, s) => {
    const item = ["A %s on a table.", "Somebody draws a %s with a thick pen.", "Look, a %s!", "The %s of the flag."][s].replace("%s", `${colour} ${shape}`);
    return { id: `note-${4 * c + s + 1}`, item, type: null, says: `${colour} ${shape}`, metadata: { item, language: s % 3 ? "en" : null } };
  }),
);

function gallery(name, modality, items) {
  for (const item of items) item.place = embed(item.says);
  return { name, modality, items, columns: [...new Set(items.flatMap((item) => Object.keys(item.metadata)))] };
}

/** Many points in clusters, for the map alone. */
function many(n) {
  let seed = 7;
  const random = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) + 0.5) / 2 ** 32;
  const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
  const centres = Array.from({ length: 12 }, () => [normal(), normal(), 0.08 + 0.25 * random()]);
  return {
    name: "many", modality: "text", columns: ["item", "cluster", "height"],
    items: Array.from({ length: n }, (_, i) => {
      const c = Math.floor(centres.length * random() ** 1.5);
      const at = [0, 1].map((d) => centres[c][d] + centres[c][2] * normal());
      const item = `Sentence ${i + 1}`;
      return { id: `s-${i + 1}`, item, type: null, at, place: null, metadata: { item, cluster: `cluster ${c + 1}`, height: at[1] } };
    }),
  };
}

const HTML = "<b>bold</b> <img src=x onerror=\"document.title = 'broken'\"> & <script>document.title = 'broken'</script>";
const ARABIC = "وردة حمراء في حديقة كبيرة، رقم 12";
const LONG = "It goes on about a flower, and the garden around it. ".repeat(200).trim();

/** What texts and files may be, too. */
function odd() {
  const says = [HTML, ARABIC, LONG];
  const texts = says.map((item, i) => ({ id: `odd-${i + 1}`, item, type: null, says: "odd", metadata: { item } }));
  // Of one, the file is gone.
  const files = says.map((caption, i) => {
    const id = ["a b & c?.png", "d%20e#.png", "it's.png"][i];
    return { id, item: `/data/${id}`, type: "image/png", bytes: i < 2 ? picture("red", "ring") : null, says: "odd", metadata: { item: `/data/${id}`, caption } };
  });
  return [gallery("odd texts", "text", texts), gallery("odd files", "image", files), gallery("nothing", "image", [])];
}

export function galleries(points = 0, oddities = false) {
  const usual = [gallery("shapes", "image", pictures), gallery("tones", "audio", sounds), gallery("notes", "text", texts)];
  return [...usual, ...(points ? [many(points)] : []), ...(oddities ? odd() : [])];
}
