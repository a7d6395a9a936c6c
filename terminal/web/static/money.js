// Money is a BigInt of fen. No amount ever becomes a floating-point number.

const priceDigits = 6;
const quantityDigits = 4;
const fenPerProduct = 10n ** BigInt(priceDigits + quantityDigits - 2);

// plain turns what people type and paste into ASCII: full-width digits and
// signs, spaces, a yuan sign, thousands separators in their right places.
export function plain(text) {
  const ascii = String(text ?? "").normalize("NFKC").replace(/[\s\u3000]/g, "").replace(/^[¥元]/, "").replace(/元$/, "").replace(/。/g, ".");
  return /^-?\d{1,3}(,\d{3})+(\.\d*)?$/.test(ascii) ? ascii.replaceAll(",", "") : ascii;
}

// decimal reads a number of at most whole + digits digits as an integer of its last
// digit; null when it is not one.
function decimal(text, whole, digits) {
  const found = /^(-?)(\d+)(?:\.(\d*))?$/.exec(plain(text));
  if (!found) return null;
  const integer = found[2].replace(/^0+(?=\d)/, "");
  const fraction = found[3] ?? "";
  if (integer.length > whole || fraction.length > digits) return null;
  const value = BigInt(integer + fraction.padEnd(digits, "0"));
  return found[1] ? -value : value;
}

export const parsePrice = (text) => decimal(text, 10, priceDigits);
export const parseQuantity = (text) => decimal(text, 12, quantityDigits);
export const parseFen = (text) => decimal(text, 16, 2);

// canonical is the number as the service wants it: ASCII, no leading zeros, no
// trailing zeros behind the point.
export function canonical(text) {
  const found = /^(-?)(\d+)(?:\.(\d*))?$/.exec(plain(text));
  if (!found) return plain(text);
  const fraction = (found[3] ?? "").replace(/0+$/, "");
  return found[1] + found[2].replace(/^0+(?=\d)/, "") + (fraction ? `.${fraction}` : "");
}

// amountOf is price x quantity in fen, half a fen rounded away from zero; null
// unless both are numbers.
export function amountOf(price, quantity) {
  const p = parsePrice(price);
  const q = parseQuantity(quantity);
  if (p === null || q === null) return null;
  const product = p * q;
  const size = product < 0n ? -product : product;
  const fen = (size + fenPerProduct / 2n) / fenPerProduct;
  return product < 0n ? -fen : fen;
}

// yuan is "1234.56": the form of the service.
export function yuan(fen) {
  const digits = (fen < 0n ? -fen : fen).toString().padStart(3, "0");
  return `${fen < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

// shown is "1,234.56" for people; what is not an amount is shown as it came.
export function shown(amount) {
  const fen = typeof amount === "bigint" ? amount : parseFen(amount);
  if (fen === null) return amount === null || amount === undefined || amount === "" ? "—" : String(amount);
  const [whole, fraction] = yuan(fen).split(".");
  return `${whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",")}.${fraction}`;
}

// unitPrice shows a price with the decimals that it has, two at least.
export function unitPrice(price) {
  if (parsePrice(price) === null) return String(price ?? "");
  const [whole, fraction = ""] = canonical(price).split(".");
  return `${whole}.${fraction.padEnd(2, "0")}`;
}

export const withSign = (amount) => `¥ ${shown(amount)}`;

const digitWords = ["零", "壹", "贰", "叁", "肆", "伍", "陆", "柒", "捌", "玖"];
const placeWords = ["", "拾", "佰", "仟"];
const groupWords = ["", "万", "亿"];

// inWords is an amount as Chinese receipts spell it: 12.30 is 壹拾贰元叁角整.
export function inWords(amount) {
  const fen = typeof amount === "bigint" ? amount : parseFen(amount);
  if (fen === null) return "";
  const digits = (fen < 0n ? -fen : fen).toString().padStart(3, "0");
  const whole = digits.slice(0, -2).replace(/^0+/, "");
  const [jiao, cent] = [Number(digits.at(-2)), Number(digits.at(-1))];
  if (whole.length > 12) return ""; // nobody pays that at a desk
  let words = "";
  let gap = false;
  for (let i = 0; i < whole.length; i++) {
    const place = whole.length - 1 - i;
    const digit = Number(whole[i]);
    if (digit === 0) gap = true;
    else {
      words += (gap && words ? "零" : "") + digitWords[digit] + placeWords[place % 4];
      gap = false;
    }
    if (place % 4 === 0 && place > 0 && /[1-9]/.test(whole.slice(Math.max(0, i - 3), i + 1))) words += groupWords[place / 4];
  }
  if (words) words += "元";
  if (jiao) words += `${gap && words ? "零" : ""}${digitWords[jiao]}角`;
  else if (cent && words) words += "零";
  if (cent) words += `${digitWords[cent]}分`;
  if (!words) words = "零元";
  return (fen < 0n ? "负" : "") + words + (cent ? "" : "整");
}
