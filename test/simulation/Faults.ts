/** What befalls a simulated cluster. Each seed has some kinds of faults and not others, so that each is also met without the rest. */
import type { Cluster } from "./Cluster.ts"
import type { Database } from "./Database.ts"
import type { Dice } from "./Dice.ts"
import type { Node } from "./Node.ts"
import type { World } from "./World.ts"

const kinds = [
  "kill",
  "stop",
  "freeze",
  "move",
  "connection",
  "database restart",
  "network",
  "clock",
  "disconnect"
] as const
export type FaultKind = (typeof kinds)[number]

export interface FaultOptions {
  readonly world: World
  readonly database: Database
  readonly cluster: Cluster
  /** Starts another node. */
  readonly startNode: () => Node
  readonly nodes: number
  /** Faults come for so long; then everything is mended. */
  readonly millis: number
}

export class Faults {
  readonly kinds: ReadonlyArray<FaultKind>
  /** Those which are alive, or seem to be. */
  readonly nodes: Array<Node> = []
  private healed = false
  private readonly dice: Dice
  private readonly options: FaultOptions

  constructor(options: FaultOptions) {
    this.options = options
    this.dice = options.world.dice.fork("faults")
    this.kinds = kinds.filter(() => this.dice.chance(0.5))
    options.world.trace.add("faults", this.kinds.length === 0 ? "none" : this.kinds.join(", "))
    for (let count = 0; count < options.nodes; count++) this.start()
    this.share()
    this.next()
    options.world.at(options.millis, () => this.heal())
  }

  private get up(): ReadonlyArray<Node> {
    return this.nodes.filter(({ process }) => process.alive && !process.frozen)
  }

  private start(): void {
    const { startNode, world } = this.options
    const node = startNode()
    this.nodes.push(node)
    // Some time after it has joined it gets its share.
    world.at(this.dice.between(200, 2500), () => this.share())
  }

  /** Gives each bucket to a node that is there, as the cluster does; what has to move, moves in order, unless there is a fault for it. */
  private share(): void {
    const { up } = this
    const { cluster } = this.options
    if (up.length === 0) return
    for (let bucket = 0; bucket < cluster.buckets; bucket++) {
      const owner = cluster.ownerOf(bucket)
      const node = up[bucket % up.length]!
      const keeps = up.some(({ process }) => process === owner) && this.dice.chance(0.3)
      if (!keeps) cluster.assign(bucket, node.process, { gap: owner === undefined ? 0 : this.dice.between(20, 900) })
    }
  }

  /** What a node had goes to the others, as soon as its lease is over. */
  private takeOver(): void {
    const { cluster, world } = this.options
    world.at(this.dice.between(800, 2500), () => {
      const { up } = this
      if (up.length === 0) return
      for (let bucket = 0; bucket < cluster.buckets; bucket++) {
        const owner = cluster.ownerOf(bucket)
        if (up.some(({ process }) => process === owner)) continue
        cluster.assign(bucket, this.dice.pick(up).process, {
          gap: this.dice.between(0, 300),
          overlap: this.dice.between(0, 1500)
        })
      }
    })
  }

  private next(): void {
    const { world } = this.options
    if (this.kinds.length === 0) return
    world.at(this.dice.between(100, 2500), () => {
      if (this.healed) return
      this.happen(this.dice.pick(this.kinds))
      this.next()
    })
  }

  private happen(kind: FaultKind): void {
    const { cluster, database, world } = this.options
    const { up } = this
    const node = up.length === 0 ? undefined : this.dice.pick(up)
    const tell = (what: string) => world.trace.add("faults", what)
    switch (kind) {
      case "kill":
        if (node === undefined) return
        tell(`kill ${node.name}`)
        this.kill(node)
        return
      case "stop":
        if (node === undefined || up.length < 2) return
        tell(`stop ${node.name}`)
        this.stop(node)
        return
      case "freeze": {
        if (node === undefined) return
        const millis = this.dice.between(300, 9000)
        tell(`freeze ${node.name} for ${millis} ms`)
        node.process.freeze()
        world.at(millis, () => this.thaw(node))
        if (millis > 1500) this.takeOver()
        return
      }
      case "move": {
        if (node === undefined) return
        const bucket = this.dice.below(cluster.buckets)
        cluster.assign(bucket, node.process, {
          gap: this.dice.chance(0.5) ? 0 : this.dice.between(0, 1500),
          overlap: this.dice.chance(0.5) ? this.dice.between(100, 3000) : 0
        })
        return
      }
      case "connection": {
        const millis = this.dice.between(200, 4000)
        database.faults = {
          refused: this.dice.next() * 0.4,
          answerLost: this.dice.next() * 0.4,
          late: this.dice.next() * 0.1
        }
        tell(`connections are bad for ${millis} ms`)
        world.at(millis, () => {
          database.faults = { refused: 0, answerLost: 0, late: 0 }
        })
        return
      }
      case "database restart":
        database.restart(this.dice.between(50, 4000))
        return
      case "network": {
        const millis = this.dice.between(200, 6000)
        cluster.faults = { lost: this.dice.next() * 0.3, twice: this.dice.next() * 0.5, slow: this.dice.next() * 0.5 }
        tell(`the network is bad for ${millis} ms`)
        world.at(millis, () => {
          cluster.faults = { lost: 0, twice: 0, slow: 0 }
        })
        return
      }
      case "clock": {
        if (node === undefined) return
        node.process.clockAhead = this.dice.between(-20_000, 20_000)
        tell(`the clock of ${node.name} is ${node.process.clockAhead} ms ahead`)
        return
      }
      case "disconnect":
        if (node === undefined) return
        tell(`the connections of ${node.name} are cut`)
        database.disconnect(node.process)
        return
    }
  }

  private kill(node: Node): void {
    const { cluster, database, world } = this.options
    node.process.kill()
    cluster.leave(node.process)
    world.at(this.dice.between(0, 200), () => database.disconnect(node.process))
    this.takeOver()
    this.replace(node)
  }

  private stop(node: Node): void {
    const { cluster, world } = this.options
    const others = this.up.filter((other) => other !== node)
    for (let bucket = 0; bucket < cluster.buckets; bucket++) {
      if (cluster.ownerOf(bucket) === node.process && others.length > 0)
        cluster.assign(bucket, this.dice.pick(others).process, { gap: this.dice.between(0, 300) })
    }
    let ended = false
    const end = () => {
      if (ended) return
      ended = true
      node.process.kill()
      cluster.leave(node.process)
      this.options.database.disconnect(node.process)
      this.takeOver()
    }
    world.at(this.dice.between(50, 500), () => node.stop(end))
    // Whoever stops it does not wait for ever.
    world.at(8000, end)
    this.replace(node)
  }

  private replace(node: Node): void {
    this.nodes.splice(this.nodes.indexOf(node), 1)
    this.options.world.at(this.healed ? 0 : this.dice.between(200, 6000), () => this.start())
  }

  private thaw(node: Node): void {
    if (!node.process.frozen) return
    this.options.world.trace.add("faults", `thaw ${node.name}`)
    node.process.thaw()
    this.takeOver()
  }

  private heal(): void {
    const { cluster, database, world } = this.options
    this.healed = true
    world.trace.add("faults", "everything is mended")
    database.faults = { refused: 0, answerLost: 0, late: 0 }
    cluster.faults = { lost: 0, twice: 0, slow: 0 }
    for (const node of this.nodes) {
      this.thaw(node)
      node.process.clockAhead = 0
    }
    this.takeOver()
    world.at(4000, () => this.takeOver())
    world.at(8000, () => this.takeOver())
  }
}
