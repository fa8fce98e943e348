/// How the small files of one directory are being read, and so which of them to fetch ahead.
///
/// Programs read a tree in the order in which it is listed. Once three files were read one after another, the next few
/// are fetched while the reader is still busy; as long as it comes for them, more at once. A guess that nobody comes
/// for makes the next guess harder.
struct Neighbours {
    /// Files after this one are to be fetched, so many of them.
    struct Wish: Equatable {
        /// The file from which the reader came: it must be a neighbour of `reached`, or nothing is fetched.
        var previous: [UInt8]
        var reached: [UInt8]
        var count: Int
    }

    /// Those that were begun last: readers beside each other come out of order.
    private(set) var recent: Set<[UInt8]> = []
    private var recentOrder: [[UInt8]] = []
    private var last: [UInt8]?
    /// Reads in a row that each went on from the one before.
    private var run = 0
    /// How many that must be before anything is fetched.
    private var runNeeded = 2
    /// Fetched, and not read yet.
    private var ahead: Set<[UInt8]> = []
    /// The last that was fetched.
    private var through: [UInt8]?
    private var window = Self.windowMin
    private var isWishing = false

    private static let windowMin = 4
    private static let windowMax = 64
    private static let runNeededMax = 1 << 10

    /// Notes that somebody begins to read a small file; answers what to fetch.
    mutating func note(_ segment: [UInt8]) -> Wish? {
        guard segment != last else { return nil }
        remember(segment)
        let previous = last
        last = segment
        if ahead.remove(segment) != nil {
            window = min(window * 2, Self.windowMax)
            runNeeded = 2
            guard !isWishing, ahead.count <= window / 2, let through else { return nil }
            isWishing = true
            return Wish(previous: through, reached: through, count: window - ahead.count)
        }
        guard let previous, previous.lexicographicallyPrecedes(segment) else {
            missed()
            run = 0
            return nil
        }
        run += 1
        if let through, through.lexicographicallyPrecedes(segment) { missed() }
        guard run >= runNeeded, ahead.isEmpty, !isWishing else { return nil }
        isWishing = true
        return Wish(previous: previous, reached: segment, count: window)
    }

    private mutating func remember(_ segment: [UInt8]) {
        guard recent.insert(segment).inserted else { return }
        recentOrder.append(segment)
        if recentOrder.count > Self.recentMax * 2 {
            recentOrder.removeFirst(Self.recentMax)
            recent = Set(recentOrder)
        }
    }

    private static let recentMax = 64

    /// What became of the wish: these are being fetched. Nil `through`: the reader does not read neighbours.
    mutating func granted(_ segments: [[UInt8]], through: [UInt8]?) {
        isWishing = false
        guard let through else { return missed() }
        self.through = through
        ahead.formUnion(segments)
    }

    private mutating func missed() {
        guard !ahead.isEmpty || through != nil else { return }
        if !ahead.isEmpty { runNeeded = min(runNeeded * 4, Self.runNeededMax) }
        ahead = []
        through = nil
        run = 0
        window = Self.windowMin
    }
}
