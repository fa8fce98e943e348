import Content
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Filesystem

private let half: UInt64 = 1 << 20

/// Two halves of a mebibyte, so that a read of the second asks the store after one of the first.
private func content(_ byte: UInt8) -> [UInt8] { Array(repeating: byte, count: 2 * Int(half)) }

@Suite("files that are open while their object becomes another")
struct OpenFilesTests {
    private func opened(_ fixture: Fixture, _ mode: OpenMode = OpenMode()) async throws -> UInt64 {
        let node = try #require(try await fixture.lookup("f"))
        return try await fixture.filesystem.open(node.inode, mode, caller: .unknown).handle
    }

    private func read(_ fixture: Fixture, _ handle: UInt64, _ offset: UInt64) async throws -> [UInt8] {
        let bytes = try await fixture.filesystem.read(handle, offset: offset, sizeBytes: 100, caller: .unknown)
        return bytes.withPieces { $0.flatMap { Array($0) } }
    }

    @Test("who reads an earlier version than the one that is changed here gets neither its bytes nor its end")
    func changed() async throws {
        let fixture = try Fixture()
        fixture.store.put(ObjectKey("f"), content(1))
        let reader = try await opened(fixture)
        #expect(try await read(fixture, reader, 0) == Array(repeating: 1, count: 100))
        fixture.store.put(ObjectKey("f"), content(2))
        let writer = try await opened(fixture, OpenMode(writes: true))
        #expect(try await read(fixture, writer, 0) == Array(repeating: 2, count: 100))
        for offset in [0, half] {
            #expect(fixture.filesystem.readAtHand(reader, offset: offset, sizeBytes: 100) == nil)
            await #expect(throws: FileError.stale) { try await read(fixture, reader, offset) }
        }
        let inode = try #require(try await fixture.lookup("f")).inode
        await #expect(throws: FileError.stale) { try await fixture.filesystem.attributes(inode, through: reader) }
    }

    @Test("who reads the version that is changed here goes on with the change")
    func followed() async throws {
        let fixture = try Fixture()
        fixture.store.put(ObjectKey("f"), content(1))
        let reader = try await opened(fixture)
        #expect(try await read(fixture, reader, 0) == Array(repeating: 1, count: 100))
        let writer = try await opened(fixture, OpenMode(writes: true))
        try await fixture.filesystem.write(writer, offset: half, [7, 7], caller: .unknown)
        #expect(try await read(fixture, reader, half).prefix(3) == [7, 7, 1])
    }

    @Test("who reads an earlier version is shown its size, and the kernel keeps none of the two")
    func shown() async throws {
        let fixture = try Fixture()
        fixture.store.put(ObjectKey("f"), content(1))
        let reader = try await opened(fixture)
        let inode = try #require(try await fixture.lookup("f")).inode
        #expect(fixture.filesystem.nodeAtHand(inode, through: reader)?.attributesAreDue == false)
        fixture.store.put(ObjectKey("f"), [2])
        try await fixture.filesystem.setAttribute(inode, .refresh, value: [], caller: .unknown)
        let node = try await fixture.filesystem.attributes(inode)
        #expect(node.sizeBytes == 1 && node.attributesAreDue)
        let mine = try await fixture.filesystem.attributes(inode, through: reader)
        #expect(mine.sizeBytes == 2 * half && mine.attributesAreDue)
        fixture.filesystem.close(reader)
        #expect(try await fixture.filesystem.attributes(inode).attributesAreDue == false)
    }

    @Test("a read that is under way when the file is opened for writing goes on", arguments: [false, true])
    func underWay(isRemoved: Bool) async throws {
        let fixture = try Fixture()
        fixture.store.put(ObjectKey("f"), content(1))
        let reader = try await opened(fixture)
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .get = call { await gate.pass() } }
        let reading = Task { try await read(fixture, reader, half) }
        #expect(await eventually { gate.waiting > 0 })
        if isRemoved {
            try await fixture.filesystem.unlink(parent: Filesystem.rootInode, name: Array("f".utf8))
        } else {
            _ = try await opened(fixture, OpenMode(writes: true))
        }
        gate.open()
        #expect(try await reading.value == Array(repeating: 1, count: 100))
    }

    @Test("a read that finds the object renamed here waits for its new name")
    func renamed() async throws {
        let fixture = try Fixture()
        fixture.store.put(ObjectKey("f"), content(1))
        let reader = try await opened(fixture)
        let gate = Gate()
        fixture.store.scriptReplies { call throws(StoreError) in if case .delete = call { await gate.pass() } }
        let renaming = Task {
            try await fixture.filesystem.rename(
                parent: Filesystem.rootInode, name: Array("f".utf8), newParent: Filesystem.rootInode,
                newName: Array("g".utf8), .replaced)
        }
        #expect(await eventually { gate.waiting == 1 })
        let reading = Task { try await read(fixture, reader, half) }
        #expect(await eventually { fixture.store.calls.contains { if case .get = $0 { true } else { false } } })
        gate.open()
        try await renaming.value
        #expect(try await reading.value == Array(repeating: 1, count: 100))
    }

    @Test("a file that is opened for writing while it is removed does not come back")
    func removedBesideOpen() async throws {
        let fixture = try Fixture("f")
        let inode = try #require(try await fixture.lookup("f")).inode
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .delete = call { await gate.pass() } }
        let removing = Task {
            try await fixture.filesystem.unlink(parent: Filesystem.rootInode, name: Array("f".utf8))
        }
        #expect(await eventually { gate.waiting == 1 })
        let opening = Task {
            try await fixture.filesystem.open(inode, OpenMode(writes: true, truncates: true), caller: .unknown)
        }
        for _ in 0..<2000 { await Task.yield() }
        gate.open()
        try await removing.value
        await #expect(throws: FileError.stale) { try await opening.value }
        #expect(fixture.store.keys.isEmpty)
        #expect(try await fixture.lookup("f") == nil)
    }

    @Test("a file that is removed while its directory is renamed is in neither")
    func removedBesideRename() async throws {
        let fixture = try Fixture("a/f", "a/g")
        let directory = try #require(try await fixture.lookup("a"))
        _ = try await fixture.lookup("f", in: directory.inode)
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in if case .delete = call { await gate.pass() } }
        let removing = Task { try await fixture.filesystem.unlink(parent: directory.inode, name: Array("f".utf8)) }
        #expect(await eventually { gate.waiting == 1 })
        let renaming = Task {
            try await fixture.filesystem.rename(
                parent: Filesystem.rootInode, name: [97], newParent: Filesystem.rootInode, newName: [98], .replaced)
        }
        for _ in 0..<2000 { await Task.yield() }
        gate.open()
        try await removing.value
        try await renaming.value
        #expect(fixture.store.keys.filter { !$0.isPrefix } == [ObjectKey("b/g")])
    }
}
