internal import Content
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Upload

/// A file that somebody has open: one version of an object, or the file as it is being changed through this mount.
final class FileHandle: Sendable {
    enum Source: Sendable {
        /// The version that was there at the open, and no other.
        case object(FileContent)
        case staged(StagedFile)
    }

    private struct State {
        var source: Source
        var record: ObjectRecord
    }

    let inode: UInt64
    let writes: Bool
    /// O_APPEND: what is written goes to where the file ends, not to where the kernel thinks that is.
    let appends: Bool
    let pattern: Mutex<ReadPattern>
    private let state: Mutex<State>
    /// Frozen, as far as is known: what needs the object's bytes goes through the restore first.
    let isFrozen: Atomic<Bool>
    /// Its restored copy is renewed for as long as this is open.
    let isHeld = Atomic(false)
    /// The inode shows another version since: nothing of this one may get among the pages of that one.
    let isOutOfDate = Atomic(false)

    init(
        inode: UInt64, record: ObjectRecord, source: Source, writes: Bool, appends: Bool = false, isFrozen: Bool,
        aheadBytesMax: Int
    ) {
        self.inode = inode
        self.writes = writes
        self.appends = appends
        self.isFrozen = Atomic(isFrozen)
        state = Mutex(State(source: source, record: record))
        pattern = Mutex(ReadPattern(aheadBytesMax: aheadBytesMax))
    }

    var source: Source { state.withLock { $0.source } }
    /// The object as it was when the file was opened, or when it was stored last.
    var record: ObjectRecord { state.withLock { $0.record } }

    func change(to source: Source, record: ObjectRecord? = nil) {
        state.withLock { state in
            state.source = source
            if let record { state.record = record }
        }
    }

    var staged: StagedFile? {
        if case .staged(let file) = source { file } else { nil }
    }

    var key: ObjectKey {
        switch source {
        case .object(let content): content.key
        case .staged(let file): file.key
        }
    }

    var version: String? {
        if case .object(let content) = source { content.version } else { nil }
    }
}

extension FileHandle.Source {
    static func === (one: Self, other: Self) -> Bool {
        switch (one, other) {
        case (.object(let one), .object(let other)): one === other
        case (.staged(let one), .staged(let other)): one === other
        default: false
        }
    }

    var sizeBytes: UInt64 {
        switch self {
        case .object(let content): content.sizeBytes
        case .staged(let file): file.sizeBytes
        }
    }
}

/// Open files by handle, and the contents that handles of one version of an object share.
final class OpenFiles: Sendable {
    private struct Shared {
        let content: FileContent
        var opens: Int
    }

    private struct State {
        var next: UInt64 = 1
        var handles: [UInt64: FileHandle] = [:]
        var contents: [UInt64: [Shared]] = [:]

        mutating func add(_ file: FileHandle) -> UInt64 {
            defer { next += 1 }
            handles[next] = file
            return next
        }

        mutating func share(_ inode: UInt64, _ etag: String, _ make: () -> FileContent) -> FileContent {
            var shared = contents[inode] ?? []
            defer { contents[inode] = shared }
            if let index = shared.firstIndex(where: { $0.content.etag == etag }) {
                shared[index].opens += 1
                return shared[index].content
            }
            shared.append(Shared(content: make(), opens: 1))
            return shared[shared.count - 1].content
        }

        /// Answers the content if nobody else has it.
        mutating func leave(_ inode: UInt64, _ content: FileContent) -> FileContent? {
            guard var shared = contents[inode], let index = shared.firstIndex(where: { $0.content === content }) else {
                return nil
            }
            shared[index].opens -= 1
            let isLast = shared[index].opens == 0
            if isLast { shared.remove(at: index) }
            contents[inode] = shared.isEmpty ? nil : shared
            return isLast ? content : nil
        }
    }

    private let state = Mutex<State>(State())
    private let hasContents = Atomic(false)

    private func change<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        state.withLock { state in
            defer { hasContents.store(!state.contents.isEmpty, ordering: .releasing) }
            return body(&state)
        }
    }

    /// Opens this version; `make` gives its content if nobody has it open. Answers the handle, and whether another
    /// version of the object is still open on the same inode.
    func open(
        _ inode: UInt64, _ record: ObjectRecord, isFrozen: Bool, aheadBytesMax: Int, _ make: () -> FileContent
    ) -> (handle: UInt64, isBesideOther: Bool) {
        change { state in
            let content = state.share(inode, record.etag, make)
            let handle = state.add(
                FileHandle(
                    inode: inode, record: record, source: .object(content), writes: false, isFrozen: isFrozen,
                    aheadBytesMax: aheadBytesMax))
            return (handle, (state.contents[inode]?.count ?? 0) > 1)
        }
    }

    func open(
        _ inode: UInt64, _ record: ObjectRecord, _ file: StagedFile, writes: Bool, appends: Bool, isFrozen: Bool,
        aheadBytesMax: Int
    ) -> UInt64 {
        state.withLock { state in
            state.add(
                FileHandle(
                    inode: inode, record: record, source: .staged(file), writes: writes, appends: appends,
                    isFrozen: isFrozen, aheadBytesMax: aheadBytesMax))
        }
    }

    subscript(handle: UInt64) -> FileHandle? { state.withLock { $0.handles[handle] } }

    /// Those of open files.
    var inodes: Set<UInt64> { state.withLock { Set($0.handles.values.map(\.inode)) } }

    /// Whether somebody reads what the object was when he opened it.
    func hasContent(_ inode: UInt64) -> Bool {
        hasContents.load(ordering: .acquiring) && state.withLock { $0.contents[inode] != nil }
    }

    /// Whether somebody reads another version of the object than this one.
    func hasOther(_ inode: UInt64, than etag: @autoclosure () -> String?) -> Bool {
        guard hasContents.load(ordering: .acquiring) else { return false }
        return state.withLock { state in
            guard let shared = state.contents[inode] else { return false }
            let etag = etag()
            return shared.contains { $0.content.etag != etag }
        }
    }

    func isOpen(_ inode: UInt64) -> Bool { state.withLock { $0.handles.values.contains { $0.inode == inode } } }

    func isOpenForWriting(_ inode: UInt64) -> Bool {
        state.withLock { $0.handles.values.contains { $0.inode == inode && $0.writes } }
    }

    /// From now on all who have open what the file is a change of (nil: of nothing) see it as it is being changed; who
    /// has an earlier version open is out of date. `use` is told how many the former are before any of them can close
    /// it.
    func stage(_ inode: UInt64, _ file: StagedFile, of etag: String?, use: (Int) -> Void) {
        let closed = change { state in
            var count = 0
            var closed: [FileContent] = []
            for handle in state.handles.values where handle.inode == inode {
                guard case .object(let content) = handle.source else { continue }
                guard content.etag == etag else {
                    handle.isOutOfDate.store(true, ordering: .releasing)
                    continue
                }
                handle.change(to: .staged(file))
                count += 1
                if let last = state.leave(inode, content) { closed.append(last) }
            }
            use(count)
            return closed
        }
        for content in closed { content.close() }
    }

    /// The file is stored, and nobody changes it: whoever still has it open reads the object.
    func unstage(_ inode: UInt64, _ file: StagedFile, _ record: ObjectRecord, _ make: () -> FileContent) {
        change { state in
            for handle in state.handles.values where handle.inode == inode && handle.staged === file {
                handle.change(to: .object(state.share(inode, record.etag, make)), record: record)
            }
        }
    }

    /// What was open of this version of the object lies under another key now, or has another ETag. Who has an earlier
    /// version open is out of date.
    func move(_ inode: UInt64, from etag: String, to record: ObjectRecord, _ make: () -> FileContent) {
        let closed = change { state in
            var closed: [FileContent] = []
            var moved: FileContent?
            for handle in state.handles.values where handle.inode == inode {
                guard case .object(let content) = handle.source, content.version == nil else { continue }
                guard content.etag == etag else {
                    handle.isOutOfDate.store(true, ordering: .releasing)
                    continue
                }
                if let last = state.leave(inode, content) { closed.append(last) }
                let target = moved ?? make()
                moved = target
                handle.change(to: .object(state.share(inode, target.etag) { target }), record: record)
            }
            return closed
        }
        for content in closed { content.close() }
    }

    /// Answers what was open.
    func close(_ handle: UInt64) -> FileHandle? {
        let (file, last): (FileHandle?, FileContent?) = change { state in
            guard let file = state.handles.removeValue(forKey: handle) else { return (nil, nil) }
            guard case .object(let content) = file.source else { return (file, nil) }
            return (file, state.leave(file.inode, content))
        }
        last?.close()
        return file
    }
}
