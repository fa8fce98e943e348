package import Logging
package import Metadata
internal import ObjectStore
internal import Synchronization
package import ThawCore

/// How many inodes there may be in memory, and those that are on disk.
///
/// The kernel keeps an inode for every name that it has looked at, for as long as its own memory lasts, and counts on
/// each. A walk through ten million files is ten million inodes, of which nobody uses more than a few.
package final class InodeLimit: Sendable {
    fileprivate let inodesMax: Int
    fileprivate let settler: InodeSettler
    /// Held while some are brought there and while one is woken; the table's lock is taken under it.
    fileprivate let store: Mutex<IdleInodes>
    private let log: Logger
    private let holdsAny = Atomic(false)
    /// Files, in the order in which they came into memory. Some are there no longer, some twice.
    fileprivate let arrivals = Mutex<[UInt64]>([])
    fileprivate let forgotten = Mutex<[ForgottenLookups]>([])
    /// From how many in memory on it is worth a try to bring some to disk.
    fileprivate let crowd: Atomic<Int>
    fileprivate let isSettling = Atomic(false)

    fileprivate static let forgottenMax = 4096

    /// From `inodesMax` on, those that nobody uses lie in `store`; `executor` is where the disk is waited for.
    package init(inodesMax: Int, store: sending IdleInodes, executor: ThreadExecutor, log: Logger) {
        self.inodesMax = inodesMax
        self.store = Mutex(store)
        settler = InodeSettler(executor: executor)
        crowd = Atomic(inodesMax)
        self.log = log
    }

    /// Once there has been one on disk.
    var mayHoldAny: Bool { holdsAny.load(ordering: .acquiring) }

    fileprivate func willHold() { holdsAny.store(true, ordering: .releasing) }

    fileprivate func fail(_ error: MetadataError) {
        log.error("inodes that are too many for memory cannot be kept on disk: \(error)")
    }
}

/// Brings inodes to disk, on a thread that may wait for it.
actor InodeSettler {
    private let executor: ThreadExecutor

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: ThreadExecutor) { self.executor = executor }

    func settle(_ inodes: InodeTable) { inodes.settle() }

    fileprivate func page(of limit: InodeLimit, after last: IdleInode?) -> [IdleInode] {
        limit.store.withLock { store in
            do throws(MetadataError) { return try store.page(after: last, limit: 1000) } catch {
                limit.fail(error)
                return []
            }
        }
    }
}

extension InodeTable {
    // MARK: Too many

    /// A file's inode is in memory now, with so many others. Under the table's lock.
    func arrived(_ number: UInt64, count: Int) {
        guard let limit else { return }
        let arrivals = limit.arrivals.withLock { arrivals in
            arrivals.append(number)
            return arrivals.count
        }
        if count > limit.crowd.load(ordering: .relaxed) || arrivals > Self.arrivalsMax(count, limit) { startSettling() }
    }

    /// A longer list is mostly of what is forgotten.
    private static func arrivalsMax(_ count: Int, _ limit: InodeLimit) -> Int { 3 * max(count, limit.inodesMax) }

    private func startSettling() {
        guard let limit, !limit.isSettling.exchange(true, ordering: .relaxed) else { return }
        Task { await limit.settler.settle(self) }
    }

    /// Returns once there is room for a page of names; for who brings many.
    func waitForRoom() async {
        guard let limit, count > limit.crowd.load(ordering: .relaxed) + limit.inodesMax / 2 else { return }
        await limit.settler.settle(self)
    }

    /// Brings inodes that nobody uses to disk until there is room for new ones, and drops those that the kernel has
    /// forgotten. Blocks on the disk.
    func settle() {
        guard let limit else { return }
        limit.isSettling.store(false, ordering: .relaxed)
        while releaseSome(limit) {}
        shortenArrivals(limit)
        let room = max(limit.inodesMax / 16, 1)
        if count > limit.inodesMax {
            // Those that stay are behind the others then.
            for _ in 0...(limit.arrivals.withLock(\.count) / Self.stepInodes) {
                guard count > limit.inodesMax - room, bringToDisk(limit) else { break }
            }
        }
        // Of what is in use there may be more.
        limit.crowd.store(max(limit.inodesMax, count + room), ordering: .relaxed)
    }

    /// Nobody who wakes an inode waits for more than this to be written.
    private static let stepInodes = 256

    /// Takes some of the forgotten lookups back; false when there are none.
    private func releaseSome(_ limit: InodeLimit) -> Bool {
        let lookups = limit.forgotten.withLock { forgotten in
            defer { forgotten.removeLast(min(Self.stepInodes, forgotten.count)) }
            return Array(forgotten.suffix(Self.stepInodes))
        }
        if lookups.isEmpty { return false }
        limit.store.withLock { store in
            do throws(MetadataError) {
                for lookups in try store.release(lookups) { takeBack(lookups, mayDrop: true) }
            } catch {
                limit.fail(error)
            }
        }
        return true
    }

    private func shortenArrivals(_ limit: InodeLimit) {
        withLock { inodes in
            limit.arrivals.withLock { arrivals in
                guard arrivals.count > Self.arrivalsMax(inodes.count, limit) else { return }
                arrivals = inodes.filter { $0.value.directory == nil }.map(\.key)
            }
        }
    }

    /// False when the disk takes none.
    private func bringToDisk(_ limit: InodeLimit) -> Bool {
        limit.willHold()
        return limit.store.withLock { store in
            let taken = takeFirst(limit)
            if taken.isEmpty { return true }
            do throws(MetadataError) {
                try store.add(taken.map { IdleInode($0.key, $0.value) })
                return true
            } catch {
                put(taken)
                limit.fail(error)
                return false
            }
        }
    }

    /// Of those that came first, the ones of which there is nothing to know but what their names tell.
    private func takeFirst(_ limit: InodeLimit) -> [UInt64: Inode] {
        let first = limit.arrivals.withLock { arrivals in
            defer { arrivals.removeFirst(min(Self.stepInodes, arrivals.count)) }
            return Array(arrivals.prefix(Self.stepInodes))
        }
        var taken: [UInt64: Inode] = [:]
        let kept = withLock { inodes in
            // Whoever opens one of them after this does not find it, and wakes it.
            let open = openFiles.inodes
            var kept: [UInt64] = []
            for number in first {
                guard let index = inodes.index(forKey: number) else { continue }
                if inodes.values[index].isPlain, !open.contains(number) {
                    taken[number] = inodes.remove(at: index).value
                } else {
                    kept.append(number)
                }
            }
            return kept
        }
        limit.arrivals.withLock { $0 += kept }
        return taken
    }

    private func put(_ inodes: [UInt64: Inode]) {
        withLock { table in
            for (number, inode) in inodes {
                if let index = table.index(forKey: number) {
                    table.values[index].take(from: inode)
                } else {
                    table[number] = inode
                    arrived(number, count: table.count)
                }
            }
        }
    }

    func forgetLater(_ lookups: ForgottenLookups) {
        guard let limit else { return }
        let count = limit.forgotten.withLock { forgotten in
            forgotten.append(lookups)
            return forgotten.count
        }
        if count >= InodeLimit.forgottenMax { startSettling() }
        // Of millions that the kernel forgets at once, the rest waits there.
        if count >= InodeLimit.forgottenMax * 16 { _ = releaseSome(limit) }
    }

    // MARK: On disk

    /// Has the inode in memory, if it is on disk. What is known of its object is not there: its rows tell.
    func wake(_ number: UInt64) -> Bool {
        guard let limit, limit.mayHoldAny else { return false }
        return limit.store.withLock { store in
            // Somebody else has woken it, or it was being brought to disk.
            withLock { $0[number] != nil } || take(number, from: store, limit)
        }
    }

    /// Has in memory what was known of a file before its name was looked up anew.
    func unite(_ number: UInt64) {
        guard let limit, limit.mayHoldAny else { return }
        limit.store.withLock { _ = take(number, from: $0, limit) }
    }

    private func take(_ number: UInt64, from store: IdleInodes, _ limit: InodeLimit) -> Bool {
        do throws(MetadataError) {
            guard let found = try store.take(number), let home = withLock({ $0[found.home]?.directory }) else {
                return false
            }
            put([number: Inode(found, in: home)])
            return true
        } catch {
            limit.fail(error)
            return false
        }
    }

    /// Tells, page by page, of every inode on disk that is a name of one of these directories.
    func forEachIdle(in homes: Set<UInt64>, _ body: @Sendable ([IdleName]) async -> Void) async {
        guard let limit, limit.mayHoldAny else { return }
        var last: IdleInode?
        repeat {
            let page = await limit.settler.page(of: limit, after: last)
            last = page.last
            await body(page.filter { homes.contains($0.home) }.map { IdleName($0) })
        } while last != nil
    }
}

/// The name of an inode on disk.
struct IdleName: Sendable {
    let number: UInt64
    let home: UInt64
    let name: [UInt8]

    fileprivate init(_ inode: IdleInode) {
        (number, home) = (inode.number, inode.home)
        let segment = inode.segment
        name = inode.isPlainlyNamed ? segment : Names.name(of: segment, isShadowed: Names.isPlain(segment))
    }
}

extension Inode {
    /// A file of which there is nothing to know but what its name and its object tell.
    fileprivate var isPlain: Bool {
        directory == nil && home?.view == .objects && staged == nil && !isRemoved && hiddenKeys.isEmpty
            && movedHash == nil && restore == .none
    }

    fileprivate init(_ idle: IdleInode, in home: Directory) {
        self.init(
            home: home, segment: idle.segment, isPlainlyNamed: idle.isPlainlyNamed, directory: nil, record: nil,
            checkedAt: .epoch, lookups: idle.lookups)
        isKnownRegular = idle.isKnownRegular
        if !idle.openedETag.isEmpty { openedETag = idle.openedETag }
    }

    /// The same inode, as it was when it was in memory before.
    fileprivate mutating func take(from earlier: Inode) {
        lookups += earlier.lookups
        guard openedETag.isEmpty, !earlier.openedETag.isEmpty else { return }
        openedETag = earlier.openedETag
        // It is of the version that was opened.
        if record?.etag == openedETag { isKnownRegular = isKnownRegular || earlier.isKnownRegular }
    }
}

extension IdleInode {
    fileprivate init(_ number: UInt64, _ inode: Inode) {
        self.init(
            number: number, home: inode.home?.inode ?? 0, segment: inode.segment,
            isPlainlyNamed: inode.isPlainlyNamed, isKnownRegular: inode.isKnownRegular, openedETag: inode.openedETag,
            lookups: inode.lookups)
    }
}
