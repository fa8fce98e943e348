internal import Content
internal import ObjectStore
internal import Synchronization

/// A file that somebody has open: the version of the object that was there at the open, and no other.
final class FileHandle: Sendable {
    let inode: UInt64
    let record: ObjectRecord
    let content: FileContent
    let pattern: Mutex<ReadPattern>
    /// Frozen, as far as is known: reads go through the restore first.
    let isFrozen: Atomic<Bool>
    /// Its restored copy is renewed for as long as this is open.
    let isHeld = Atomic(false)

    init(inode: UInt64, record: ObjectRecord, content: FileContent, isFrozen: Bool, aheadBytesMax: Int) {
        self.inode = inode
        self.record = record
        self.content = content
        self.isFrozen = Atomic(isFrozen)
        pattern = Mutex(ReadPattern(aheadBytesMax: aheadBytesMax))
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
    }

    private let state = Mutex<State>(State())

    /// Opens this version; `make` gives its content if nobody has it open. Answers the handle, and whether another
    /// version of the object is still open on the same inode.
    func open(
        _ inode: UInt64, _ record: ObjectRecord, isFrozen: Bool, aheadBytesMax: Int, _ make: () -> FileContent
    ) -> (handle: UInt64, isBesideOther: Bool) {
        state.withLock { state in
            var shared = state.contents[inode] ?? []
            let content: FileContent
            if let index = shared.firstIndex(where: { $0.content.etag == record.etag }) {
                shared[index].opens += 1
                content = shared[index].content
            } else {
                content = make()
                shared.append(Shared(content: content, opens: 1))
            }
            state.contents[inode] = shared
            defer { state.next += 1 }
            state.handles[state.next] = FileHandle(
                inode: inode, record: record, content: content, isFrozen: isFrozen, aheadBytesMax: aheadBytesMax)
            return (state.next, shared.count > 1)
        }
    }

    subscript(handle: UInt64) -> FileHandle? { state.withLock { $0.handles[handle] } }

    /// Answers what was open.
    func close(_ handle: UInt64) -> FileHandle? {
        let (file, isLast): (FileHandle?, Bool) = state.withLock { state in
            guard let file = state.handles.removeValue(forKey: handle), var shared = state.contents[file.inode],
                let index = shared.firstIndex(where: { $0.content === file.content })
            else { return (nil, false) }
            shared[index].opens -= 1
            let isLast = shared[index].opens == 0
            if isLast { shared.remove(at: index) }
            state.contents[file.inode] = shared.isEmpty ? nil : shared
            return (file, isLast)
        }
        if isLast { file?.content.close() }
        return file
    }
}
