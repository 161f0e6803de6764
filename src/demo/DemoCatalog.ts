/** What the demo sells: a small shop for kitchen, desk and trail. Prices are set by hand in each currency, as shops do. */
import { Schema } from "effect"
import { FlatRates } from "../catalog/ShippingQuotes.ts"

const table: ReadonlyArray<
  readonly [
    sku: string,
    name: string,
    category: string,
    USD: string,
    EUR: string,
    GBP: string,
    JPY: string,
    AMS: number,
    RNO: number
  ]
> = [
  ["MUG-350-SAND", "Stoneware mug 350 ml, sand", "kitchen", "18.00", "16.50", "14.00", "2600", 240, 180],
  ["MUG-350-SLATE", "Stoneware mug 350 ml, slate", "kitchen", "18.00", "16.50", "14.00", "2600", 210, 160],
  ["KETTLE-1L", "Pour-over kettle 1 l, brushed steel", "kitchen", "64.00", "59.00", "52.00", "9200", 60, 45],
  ["DRIPPER-V60", "Ceramic coffee dripper", "kitchen", "29.50", "27.00", "23.50", "4200", 130, 90],
  ["GRINDER-H2", "Hand coffee grinder, steel burrs", "kitchen", "119.00", "109.00", "95.00", "17000", 40, 35],
  ["BEANS-ETH-250", "Coffee beans Ethiopia 250 g", "pantry", "16.50", "14.90", "12.90", "2300", 400, 300],
  ["BEANS-COL-250", "Coffee beans Colombia 250 g", "pantry", "15.50", "13.90", "11.90", "2150", 380, 310],
  ["TEA-SENCHA-100", "Sencha green tea 100 g", "pantry", "13.00", "11.90", "10.50", "1800", 260, 190],
  ["HONEY-LINDEN", "Linden honey 500 g", "pantry", "14.50", "12.50", "11.00", "2000", 0, 75],
  ["KNIFE-CHEF-20", "Chef's knife 20 cm", "kitchen", "89.00", "82.00", "72.00", "12800", 55, 50],
  ["BOARD-OAK", "Oak cutting board", "kitchen", "46.00", "42.00", "37.00", "6600", 85, 70],
  ["APRON-LINEN", "Linen apron, one size", "kitchen", "52.00", "48.00", "42.00", "7500", 70, 60],
  ["NOTEBOOK-A5", "Dotted notebook A5", "desk", "12.50", "11.50", "9.90", "1750", 500, 420],
  ["PEN-BRASS", "Brass ballpoint pen", "desk", "38.00", "35.00", "30.00", "5400", 120, 100],
  ["LAMP-ARC", "Desk lamp with dimmer", "desk", "149.00", "139.00", "119.00", "21500", 25, 20],
  ["DESKPAD-WOOL", "Wool felt desk pad", "desk", "44.00", "39.90", "34.50", "6200", 95, 80],
  ["STAND-WALNUT", "Walnut laptop stand", "desk", "72.00", "66.00", "58.00", "10300", 45, 40],
  ["BACKPACK-22", "Day pack 22 l, recycled nylon", "trail", "98.00", "90.00", "79.00", "14200", 65, 55],
  ["BOTTLE-750", "Insulated bottle 750 ml", "trail", "36.00", "33.00", "29.00", "5200", 190, 170],
  ["HEADLAMP-400", "Headlamp 400 lumens, rechargeable", "trail", "54.00", "49.90", "43.50", "7800", 80, 75],
  ["TENT-2P", "Two-person trekking tent", "trail", "329.00", "299.00", "265.00", "47500", 12, 10],
  ["STOVE-GAS", "Folding gas stove", "trail", "48.50", "44.50", "39.00", "7000", 75, 65],
  // Two to run into on purpose: almost gone, and sold out.
  ["LANTERN-LTD", "Storm lantern, limited edition", "trail", "185.00", "169.00", "149.00", "26800", 3, 0],
  ["CARAFE-GLASS", "Hand-blown glass carafe", "kitchen", "58.00", "53.00", "47.00", "8400", 0, 0]
]

/** Who sells what of it; the shop sells the rest itself. */
const sellers: Readonly<Record<string, string>> = {
  "MUG-350-SAND": "potters-row",
  "MUG-350-SLATE": "potters-row",
  "DRIPPER-V60": "potters-row",
  "BEANS-ETH-250": "hill-roasters",
  "BEANS-COL-250": "hill-roasters",
  "BACKPACK-22": "north-trail",
  "TENT-2P": "north-trail"
}

export const products = table.map(([sku, name, category, USD, EUR, GBP, JPY]) => ({
  sku,
  name,
  category,
  ...(sellers[sku] === undefined ? {} : { sellerId: sellers[sku] }),
  prices: { USD, EUR, GBP, JPY }
}))

export const warehouses = [
  { warehouse: "AMS-1", name: "Amsterdam", priority: 1 },
  { warehouse: "RNO-1", name: "Reno", priority: 2 }
]

export const counts = table.flatMap(([sku, , , , , , , AMS, RNO]) => [
  { warehouse: "AMS-1", sku, onHand: AMS },
  { warehouse: "RNO-1", sku, onHand: RNO }
])

/** What the demo's carrier takes, in minor units. */
export const shippingRates = Schema.decodeSync(Schema.toCodecJson(FlatRates))({
  USD: { standard: "590", express: "1590" },
  EUR: { standard: "490", express: "1290" },
  GBP: { standard: "450", express: "1150" },
  JPY: { standard: "800", express: "1900" }
})
