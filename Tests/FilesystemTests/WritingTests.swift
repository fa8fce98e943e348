import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Filesystem
@testable import Upload

@Suite("files that are changed through the mount")
struct WritingTests {
    @Test("attributes that no store would take are refused, before they keep the content from being stored")
    func largeAttribute() async throws {
        let fixture = try Fixture()
        let (node, file) = try await fixture.create("f")
        try await fixture.filesystem.write(file.handle, offset: 0, [1, 2, 3], caller: .unknown)
        await #expect(throws: FileError.noSpace) {
            try await fixture.filesystem.setExtendedAttribute(
                node.inode, "user.large", value: Array(repeating: 7, count: 8192), create: false, replace: false,
                caller: .unknown)
        }
        try await fixture.filesystem.flush(file.handle, caller: .unknown)
        #expect(fixture.store.content(ObjectKey("f")) == [1, 2, 3])
        #expect(fixture.store.headers(ObjectKey("f"))?.metadata.values.allSatisfy { $0.count < 100 } ?? false)
    }

    @Test("a file that was made here, and is to be asked about again, is still listed")
    func refreshed() async throws {
        let fixture = try Fixture("a")
        #expect(try await fixture.names() == ["a"])
        let (node, file) = try await fixture.create("f")
        try await fixture.filesystem.flush(file.handle, caller: .unknown)
        fixture.filesystem.close(file.handle)
        try await fixture.filesystem.setAttribute(node.inode, .refresh, value: [], caller: .unknown)
        #expect(try await fixture.names() == ["a", "f"])
        #expect(fixture.store.lists.count == 1)
    }

    @Test("what is written below a directory while it is renamed is there under its new name")
    func writtenWhileMoved() async throws {
        let fixture = try Fixture("a/f")
        let directory = try #require(try await fixture.lookup("a"))
        let file = try #require(try await fixture.lookup("f", in: directory.inode))
        let gate = Gate()
        fixture.store.script { call in if case .deleteMany = call { await gate.pass() } }
        let rename = Task {
            try await fixture.filesystem.rename(
                parent: Filesystem.rootInode, name: [97], newParent: Filesystem.rootInode, newName: [98], .replaced)
        }
        #expect(await eventually { gate.waiting > 0 })
        let writing = Task {
            let opened = try await fixture.filesystem.open(
                file.inode, OpenMode(writes: true, truncates: true), caller: .unknown)
            try await fixture.filesystem.write(opened.handle, offset: 0, [9], caller: .unknown)
            try await fixture.filesystem.flush(opened.handle, caller: .unknown)
            fixture.filesystem.close(opened.handle)
        }
        let making = Task { try await fixture.create("g", in: directory.inode) }
        let removing = Task { try await fixture.filesystem.unlink(parent: directory.inode, name: Array("x".utf8)) }
        for _ in 0..<2000 { await Task.yield() }
        gate.open()
        try await rename.value
        try await writing.value
        let made = try await making.value
        try await fixture.filesystem.flush(made.file.handle, caller: .unknown)
        await #expect(throws: FileError.noSuchEntry) { try await removing.value }
        #expect(fixture.store.keys == [ObjectKey("b/f"), ObjectKey("b/g")])
        #expect(fixture.store.content(ObjectKey("b/f")) == [9])
    }

    @Test("the end of a mount waits until what its last close could not store is kept")
    func keptAtEnd() async throws {
        let fixture = try Fixture()
        let (_, file) = try await fixture.create("f")
        try await fixture.filesystem.write(file.handle, offset: 0, [1, 2, 3], caller: .unknown)
        let denied = StoreError(.denied, code: "AccessDenied", message: "")
        fixture.store.script { call throws(StoreError) in if case .put = call { throw denied } }
        await #expect(throws: FileError.denied) {
            try await fixture.filesystem.flush(file.handle, caller: .unknown)
        }
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in
            guard case .put = call else { return }
            await gate.pass()
            throw denied
        }
        fixture.filesystem.close(file.handle)
        #expect(await eventually { gate.waiting == 1 })
        let end = Task { await fixture.filesystem.finishUploads() }
        for _ in 0..<2000 { await Task.yield() }
        gate.open()
        #expect(await end.value)
        #expect(await fixture.filesystem.uploads().map(\.stage) == [.kept])
    }

    @Test("the copy for who reads a removed file goes also when he closes it while it is made", arguments: [false, true])
    func closedMeanwhile(isReplaced: Bool) async throws {
        let fixture = try Fixture(isReplaced ? ["f", "g"] : ["f"])
        let root = Filesystem.rootInode
        let node = try #require(try await fixture.lookup("f"))
        let opened = try await fixture.filesystem.open(node.inode, caller: .unknown)
        let gate = Gate()
        fixture.store.script { call in
            if case .copy(let source, _) = call, source.key == ObjectKey("f") { await gate.pass() }
        }
        let removing = Task {
            if isReplaced {
                try await fixture.filesystem.rename(
                    parent: root, name: Array("g".utf8), newParent: root, newName: Array("f".utf8), .replaced)
            } else {
                try await fixture.filesystem.unlink(parent: root, name: Array("f".utf8))
            }
        }
        #expect(await eventually { gate.waiting > 0 })
        fixture.filesystem.close(opened.handle)
        gate.open()
        try await removing.value
        #expect(await eventually { fixture.store.keys == (isReplaced ? [ObjectKey("f")] : []) })
    }

    @Test("a file that is renamed over one that is just being stored takes its place")
    func renamedOverStored() async throws {
        let fixture = try Fixture()
        let filesystem = fixture.filesystem
        let root = Filesystem.rootInode
        let (_, target) = try await fixture.create("b")
        try await filesystem.write(target.handle, offset: 0, [1, 2, 3], caller: .unknown)
        let gate = Gate()
        fixture.store.script { call in if case .put(ObjectKey("b"), _) = call { await gate.pass() } }
        let storing = Task { try await filesystem.flush(target.handle, caller: .unknown) }
        #expect(await eventually { gate.waiting > 0 })
        let (_, file) = try await fixture.create("a")
        try await filesystem.write(file.handle, offset: 0, [9], caller: .unknown)
        let renaming = Task {
            try await filesystem.rename(parent: root, name: [97], newParent: root, newName: [98], .replaced)
        }
        // It has found both names, and waits.
        #expect(await eventually { filesystem.stagedFiles[ObjectKey("b")]?.state.withLock { $0.pauses } == 1 })
        gate.open()
        try await storing.value
        try await renaming.value
        try await filesystem.flush(file.handle, caller: .unknown)
        #expect(fixture.store.content(ObjectKey("b")) == [9])
    }

    /// How the frozen file goes whose attributes are kept.
    enum Going: CaseIterable { case unlinked, renamedOver, overwritten }

    @Test("attributes kept for a frozen file go with it, though the next may have its ETag", arguments: Going.allCases)
    func attributesGo(going: Going) async throws {
        let fixture = try Fixture("g")
        let (root, name) = (Filesystem.rootInode, Array("f".utf8))
        fixture.store.put("f", [1], class: "ColdArchive")
        let node = try #require(try await fixture.lookup("f"))
        var change = AttributeChange()
        change.permissions = 0o600
        _ = try await fixture.filesystem.setAttributes(node.inode, change, handle: nil, caller: .unknown)
        let kept = try #require(fixture.filesystem.deferred[ObjectKey("f")])
        switch going {
        case .unlinked: try await fixture.filesystem.unlink(parent: root, name: name)
        case .renamedOver:
            try await fixture.filesystem.rename(
                parent: root, name: Array("g".utf8), newParent: root, newName: name, .replaced)
        case .overwritten:
            _ = try await fixture.filesystem.open(
                node.inode, OpenMode(writes: true, truncates: true), caller: .unknown)
            let file = try #require(fixture.filesystem.stagedFiles[ObjectKey("f")])
            var record = try #require(fixture.store.record(ObjectKey("f")))
            record.attributes = file.attributes
            #expect(record.etag == kept.etag)
            await fixture.filesystem.stored(file, ObjectKey("f"), record)
        }
        #expect(fixture.filesystem.deferred.all.isEmpty)
        #expect(try await fixture.filesystem.reader.deferredAttributes().isEmpty)
    }

    @Test("a rename that fails when all is copied leaves nothing known that is not so")
    func halfMoved() async throws {
        let fixture = try Fixture("a/f")
        let directory = try #require(try await fixture.lookup("a"))
        _ = try await fixture.lookup("f", in: directory.inode)
        #expect(try await fixture.lookup("b") == nil)
        let denied = StoreError(.denied, code: "AccessDenied", message: "")
        fixture.store.script { call throws(StoreError) in if case .deleteMany = call { throw denied } }
        await #expect(throws: FileError.denied) {
            try await fixture.filesystem.rename(
                parent: Filesystem.rootInode, name: [97], newParent: Filesystem.rootInode, newName: [98], .replaced)
        }
        #expect(try await fixture.key("b", "f") == "b/f")
        fixture.store.remove(ObjectKey("a/f"))
        #expect(try await fixture.key("a", "f") == nil)
    }
}

extension Fixture {
    /// Makes a file, open for writing.
    func create(
        _ name: String, in parent: UInt64 = Filesystem.rootInode
    ) async throws -> (node: Node, file: OpenedFile) {
        try await filesystem.create(
            parent: parent, name: Array(name.utf8), NewFile(permissions: 0o644, uid: 0, gid: 0),
            OpenMode(writes: true), isExclusive: false, caller: .unknown)
    }
}
