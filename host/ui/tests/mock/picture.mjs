// A small PNG with one shape.
import { deflateSync } from "node:zlib";

const TABLE = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const crc = (bytes) => ~bytes.reduce((sum, byte) => TABLE[(sum ^ byte) & 255] ^ (sum >>> 8), -1) >>> 0;

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc(body));
  return Buffer.concat([length, body, check]);
}

const INSIDE = {
  circle: (x, y) => x * x + y * y < 0.5,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.62,
  triangle: (x, y) => y < 0.6 && y > -0.7 + 2 * Math.abs(x),
  ring: (x, y) => Math.abs(x * x + y * y - 0.4) < 0.16,
};
const COLOURS = { red: [206, 60, 52], green: [64, 143, 72], blue: [58, 96, 190], yellow: [226, 178, 44] };

export function picture(colour, shape, side = 96) {
  const rows = Buffer.alloc(side * (1 + 3 * side));
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [u, v] = [(2 * x) / side - 1, (2 * y) / side - 1];
      const inside = INSIDE[shape](u, v);
      const light = inside ? 1 - 0.15 * (u + v) : 1 - 0.04 * v;
      const rgb = inside ? COLOURS[colour] : [236, 232, 224];
      rgb.forEach((value, c) => (rows[y * (1 + 3 * side) + 1 + 3 * x + c] = Math.min(255, value * light)));
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
  const mark = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([mark, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}
