package import Logging
package import Metadata
internal import Synchronization
package import ThawCore

/// How many inodes there may be in memory, and those that are on disk.
///
/// The kernel keeps an inode for every name that it has looked at, for as long as its own memory lasts, and counts on
/// each. A walk through ten million files is ten million inodes, of which nobody uses more than a few.
package final class InodeLimit: Sendable {
    fileprivate let inodesMax: Int
    let settler: InodeSettler
    fileprivate let store: Mutex<IdleInodes>
    private let log: Logger
    private let holdsAny = Atomic(false)
    /// In the order in which they came into memory. Some are there no longer, some twice.
    fileprivate let arrivals = Mutex<[UInt64]>([])
    fileprivate let forgotten = Mutex<[ForgottenLookups]>([])
    /// From how many on it is worth a try to bring some to disk.
    fileprivate let crowd: Atomic<Int>
    fileprivate let isCrowded = Atomic(false)

    fileprivate static let forgottenMax = 4096

    /// From `inodesMax` on, those that nobody uses lie in `store`; `executor` is where the disk is waited for.
    package init(inodesMax: Int, store: sending IdleInodes, executor: ThreadExecutor, log: Logger) {
        self.inodesMax = inodesMax
        self.store = Mutex(store)
        settler = InodeSettler(executor: executor)
        crowd = Atomic(inodesMax)
        self.log = log
    }

    fileprivate func fail(_ error: MetadataError) {
        log.error("inodes that are too many for memory cannot be kept on disk: \(error)")
    }

    /// Once there has been one on disk.
    var mayHoldAny: Bool { holdsAny.load(ordering: .acquiring) }

    /// Most of a long list may be of what is forgotten.
    fileprivate func shortenArrivals(_ present: () -> [UInt64]) {
        guard arrivals.withLock({ $0.count > 3 * inodesMax }) else { return }
        let present = present()
        arrivals.withLock { $0 = present }
    }

    fileprivate func willHold() { holdsAny.store(true, ordering: .releasing) }

    /// It is time for `InodeTable.settle`. Answers it to one who asks; the others need not care.
    func claimSettling() -> Bool {
        isCrowded.load(ordering: .relaxed) && isCrowded.exchange(false, ordering: .relaxed)
    }

    /// This inode is in memory now, with so many others. Under the table's lock.
    func arrived(_ number: UInt64, count: Int) {
        let arrivals = arrivals.withLock { arrivals in
            arrivals.append(number)
            return arrivals.count
        }
        let isTime = count > crowd.load(ordering: .relaxed) || arrivals > 3 * inodesMax
        if isTime { isCrowded.store(true, ordering: .relaxed) }
    }
}

/// Brings inodes to disk, on a thread that may wait for it.
actor InodeSettler {
    private let executor: ThreadExecutor

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: ThreadExecutor) { self.executor = executor }

    func settle(_ inodes: InodeTable, _ openFiles: OpenFiles) { inodes.settle(open: { openFiles.inodes }) }
}

extension InodeTable {
    /// There are so many that whoever adds some had better settle first.
    var isOverfull: Bool { limit.map { count > $0.inodesMax * 2 } ?? false }

    /// Brings inodes that nobody uses to disk until there is room for new ones, and drops those that the kernel has
    /// forgotten. Blocks on the disk. `open` answers the inodes of open files.
    func settle(open: () -> Set<UInt64>) {
        guard let limit else { return }
        var forgotten = limit.forgotten.withLock { forgotten in
            defer { forgotten = [] }
            return forgotten[...]
        }
        while !forgotten.isEmpty {
            release(forgotten.prefix(Self.stepInodes), limit)
            forgotten = forgotten.dropFirst(Self.stepInodes)
        }
        limit.shortenArrivals { withLock { Array($0.keys) } }
        let room = max(limit.inodesMax / 16, 1)
        if count > limit.inodesMax {
            // Those that stay are behind the others then.
            for _ in 0...(limit.arrivals.withLock(\.count) / Self.stepInodes) {
                guard count > limit.inodesMax - room, bringToDisk(limit, open) else { break }
            }
        }
        // Of what is in use there may be more.
        limit.crowd.store(max(limit.inodesMax, count + room), ordering: .relaxed)
    }

    /// Nobody who wakes an inode waits for more than this to be written.
    private static let stepInodes = 1024

    private func release(_ lookups: ArraySlice<ForgottenLookups>, _ limit: InodeLimit) {
        limit.store.withLock { store in
            do throws(MetadataError) {
                for lookups in try store.release(lookups) { drop(lookups) }
            } catch {
                limit.fail(error)
            }
        }
    }

    /// False when the disk takes none.
    private func bringToDisk(_ limit: InodeLimit, _ open: () -> Set<UInt64>) -> Bool {
        limit.willHold()
        return limit.store.withLock { store in
            var taken = takeFirst(limit)
            // Whoever opened one of them before this had its inode; whoever does later wakes it.
            let open = open()
            put(taken.filter { open.contains($0.key) }, limit)
            taken = taken.filter { !open.contains($0.key) }
            do throws(MetadataError) {
                try store.add(taken.map { IdleInode($0.key, $0.value) })
                return true
            } catch {
                put(taken, limit)
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
            var kept: [UInt64] = []
            for number in first {
                guard let index = inodes.index(forKey: number) else { continue }
                if inodes.values[index].isPlain {
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

    private func put(_ inodes: [UInt64: Inode], _ limit: InodeLimit) {
        withLock { table in
            for (number, inode) in inodes {
                if let index = table.index(forKey: number) {
                    table.values[index].lookups += inode.lookups
                } else {
                    table[number] = inode
                    limit.arrived(number, count: table.count)
                }
            }
        }
    }

    /// Has the inode in memory, if it is on disk. What is known of its object is not there: its rows tell.
    func wake(_ number: UInt64) -> Bool {
        guard let limit, limit.mayHoldAny else { return false }
        return limit.store.withLock { store in
            // Somebody else has woken it, or it was being brought to disk.
            if withLock({ $0[number] != nil }) { return true }
            do throws(MetadataError) {
                guard let found = try store.take(number),
                    let home = withLock({ $0[found.home]?.directory })
                else { return false }
                put([number: Inode(found, in: home)], limit)
                return true
            } catch {
                limit.fail(error)
                return false
            }
        }
    }

    func forgetLater(_ lookups: ForgottenLookups) {
        guard let limit else { return }
        let count = limit.forgotten.withLock { forgotten in
            forgotten.append(lookups)
            return forgotten.count
        }
        if count >= InodeLimit.forgottenMax { limit.isCrowded.store(true, ordering: .relaxed) }
    }

    /// Tells of every inode on disk that is a name of one of these directories.
    func forEachIdle(in homes: Set<UInt64>, _ body: (_ number: UInt64, _ name: [UInt8], _ home: UInt64) -> Void) {
        guard let limit, limit.mayHoldAny else { return }
        var last: IdleInode?
        repeat {
            let page = limit.store.withLock { store -> [IdleInode] in
                do throws(MetadataError) { return try store.page(after: last, limit: 1000) } catch {
                    limit.fail(error)
                    return []
                }
            }
            for inode in page where homes.contains(inode.home) { body(inode.number, inode.name, inode.home) }
            last = page.last
        } while last != nil
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
        if !idle.openedETag.isEmpty { openedETag = idle.openedETag }
    }
}

extension IdleInode {
    fileprivate init(_ number: UInt64, _ inode: Inode) {
        self.init(
            number: number, home: inode.home?.inode ?? 0, segment: inode.segment,
            isPlainlyNamed: inode.isPlainlyNamed, openedETag: inode.openedETag, lookups: inode.lookups)
    }

    fileprivate var name: [UInt8] {
        isPlainlyNamed ? segment : Names.name(of: segment, isShadowed: Names.isPlain(segment))
    }
}
