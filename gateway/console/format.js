/** Numbers as people read them. Nothing here touches the page. */

const WHOLE = new Intl.NumberFormat("en");

/** @param {number} s seconds @returns {string} a place in the audio: 0:05.3, 1:02:03.0 */
export function clock(s) {
  const tenths = Math.round(Math.max(0, s) * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const end = (rest < 10 ? "0" : "") + rest.toFixed(1);
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${end}` : `${minutes}:${end}`;
}

/** @param {number | null} s seconds @returns {string} a duration: 240 ms, 1.24 s, 3 min 20 s, 2.5 h */
export function duration(s) {
  if (s === null) return "–";
  if (s === 0) return "0 s";
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 99.5) return `${s < 9.995 ? s.toFixed(2) : s.toFixed(1)} s`;
  if (s < 3599.5) return `${Math.floor(Math.round(s) / 60)} min ${Math.round(s) % 60} s`;
  return `${(s / 3600).toFixed(1)} h`;
}

/** @param {number | null} usd @returns {string} two digits that say something, however little it is */
export function dollars(usd) {
  if (usd === null) return "not known";
  if (usd === 0) return "$0";
  return usd >= 0.1 ? `$${usd.toFixed(2)}` : `$${Number(usd.toPrecision(2)).toFixed(12).replace(/0+$/, "")}`;
}

/** @param {number} bytes @returns {string} */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let at = 0;
  for (; value >= 999.5 && at < units.length - 1; at += 1) value /= 1000;
  return `${at && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

/** @param {number} number @returns {string} */
export function count(number) {
  return WHOLE.format(number);
}

/** @param {number} part @param {number} whole @returns {string} */
export function percent(part, whole) {
  if (!whole) return "–";
  const of100 = (part / whole) * 100;
  return `${of100 > 0 && of100 < 9.95 ? of100.toFixed(1) : Math.round(of100)} %`;
}
