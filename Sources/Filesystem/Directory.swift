internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore

/// A key prefix that is looked into: what its children share.
final class Directory: Sendable {
    /// What a directory shows of its prefix.
    enum View: Sendable {
        /// The objects as they are.
        case objects
        /// `.versions`: a directory for each object that has versions, and, as in the tree beside it, for each prefix.
        case versions
        /// A file for each version of one object.
        case objectVersions
    }

    let view: View
    let inode: UInt64
    /// Where it is; a rename changes that.
    private let location: Mutex<Location>
    let progress = Mutex<Progress>(Progress())
    /// The first page of the latest listing of versions, so that a look at every name of it asks nothing.
    let seenVersions = Mutex<SeenVersions?>(nil)

    /// When somebody last found out about a file of it.
    private let changed = Atomic<Int64>(0)

    private struct Location {
        var prefix: ObjectKey
        var parent: Directory?
    }

    /// Empty for the bucket's root, else it ends in `/`; of an object's versions, the object's key.
    var prefix: ObjectKey { location.withLock { $0.prefix } }
    /// Nil for the mount's root.
    var parent: Directory? { location.withLock { $0.parent } }

    var changedAt: Timestamp { Timestamp(nanoseconds: changed.load(ordering: .relaxed)) }
    func isChanged() { changed.store(Timestamp.now().nanoseconds, ordering: .relaxed) }

    struct SeenVersions {
        var rows: [[UInt8]: MetadataRow]
        /// Every name up to this key is among the rows.
        var through: ObjectKey
    }

    struct Progress {
        /// The listing under way, or the last one; its pages come as they are wanted.
        var listing: DirectoryListing?
        /// Begins the next one, for all who find that it is time.
        var beginning: Task<Result<DirectoryListing, MetadataError>, Never>?
        /// Lookups that had to ask the store one by one since the last listing: the second one lists a page instead,
        /// because a script that stats names goes on doing so.
        var lookupsAsked = 0
        /// An object stands for the directory: it stays when all others are gone.
        var hasMarker = false
        /// Of somebody who comes to the directories in it.
        var walk = Walk()
        /// When somebody read the directory last.
        var walkedAt = Timestamp.epoch
        /// HEADs that looks at single names have cost since then.
        var attributesAsked = 0
        var neighbours = Neighbours()
        /// How all below it stood a moment ago.
        var counts: (text: [UInt8], time: Timestamp)?
    }

    init(prefix: ObjectKey, view: View = .objects, inode: UInt64, parent: Directory?) {
        location = Mutex(Location(prefix: prefix, parent: parent))
        self.view = view
        self.inode = inode
    }

    /// What was known of what it has is not known of the place where it is now.
    func move(to prefix: ObjectKey, in parent: Directory?) {
        location.withLock { $0 = Location(prefix: prefix, parent: parent ?? $0.parent) }
        progress.withLock { $0 = Progress() }
        seenVersions.withLock { $0 = nil }
    }

    /// Whether a HEAD is due, because somebody looks at this one name: listings tell neither mode nor owner, nor a
    /// symbolic link from a file. Whoever walks the directory, or looks at many of its names, gets what listings tell.
    func mayAskAttributes(of row: MetadataRow) -> Bool {
        guard view == .objects, row.hasUnknownAttributes, mayAskAttributes else { return false }
        progress.withLock { $0.attributesAsked += 1 }
        return true
    }

    /// Nobody walks the directory, and not too many of its names have been asked for.
    var mayAskAttributes: Bool {
        progress.withLock { progress in
            progress.walkedAt + Self.walkDuration < .now() && progress.attributesAsked < Self.attributesAskedMax
        }
    }

    private static let walkDuration = Duration.seconds(10)
    private static let attributesAskedMax = 16

    /// Somebody reads its entries.
    func isWalked() {
        progress.withLock { progress in
            progress.walkedAt = .now()
            progress.attributesAsked = 0
        }
    }

    func key(of segment: [UInt8]) -> ObjectKey { view == .objectVersions ? prefix : prefix + segment }

    /// The version that a file is; nil for an object as it is.
    func version(of segment: [UInt8]) -> String? {
        view == .objectVersions ? String(decoding: segment, as: UTF8.self) : nil
    }

    /// The directory that a row of this one is; nil for a file.
    func child(_ row: MetadataRow, inode: UInt64) -> Directory? {
        guard let view = view(of: row) else { return nil }
        let prefix = row.segment == Names.versionsSegment ? self.prefix : key(of: row.segment)
        return Directory(prefix: prefix, view: view, inode: inode, parent: self)
    }

    /// What a row of this directory is as a directory; nil for a file.
    func view(of row: MetadataRow) -> View? {
        switch row.kind {
        case .directory: row.segment == Names.versionsSegment ? .versions : view
        case .object: view == .versions ? .objectVersions : nil
        case .absent: nil
        }
    }
}

/// Inode numbers are a hash of where a name stands, so that they are the same after a remount and after a lost
/// metadata store, and need no allocation. Two live names that collide are told apart by the inode table.
struct InodeNumber {
    private var hash: UInt64

    init(parent: UInt64) { hash = parent ^ 0xcbf2_9ce4_8422_2325 }

    /// FNV-1a.
    mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    }

    /// With the finaliser of SplitMix64, because FNV alone leaves the upper bits of short names alike. 0 means
    /// nothing to FUSE, and 1 is the root.
    var value: UInt64 {
        var mixed = (hash ^ (hash >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        mixed ^= mixed >> 31
        return mixed <= 1 ? mixed &+ 2 : mixed
    }

    static func of(_ segment: some Sequence<UInt8>, parent: UInt64) -> UInt64 {
        var number = InodeNumber(parent: parent)
        number.add(segment)
        return number.value
    }
}

extension MetadataRow {
    /// It is of an object, of which only a listing has told.
    var hasUnknownAttributes: Bool {
        if case .object(let record) = kind { record.attributes == nil } else { false }
    }
}

extension ObjectRecord {
    /// Nothing is known but that it is an object, and no longer than a path may be.
    var mayBeSymbolicLink: Bool { attributes == nil && (1..<4096).contains(sizeBytes) }
}
