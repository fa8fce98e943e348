import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting

@testable import Filesystem

@Suite("reading directories")
struct DirectoryTests {
    private let keys = ["a", "a-b", "a/x", "a0", "b/y", "c", "d", "e/z", "f"]
    private let expected: Set<String> = ["%=a", "a-b", "a", "a0", "b", "c", "d", "e", "f"]

    @Test(
        "every name is given exactly once, whatever the sizes of pages and buffers", arguments: [1, 2, 3, 100],
        [1, 2, 3, 100])
    func everyName(pageKeys: Int, room: Int) async throws {
        let fixture = try Fixture(keys)
        fixture.store.paginate(by: pageKeys)
        for plus in [false, true] {
            let names = try await fixture.names(room: room, plus: plus)
            #expect(names.count == expected.count)
            #expect(Set(names) == expected)
        }
    }

    @Test("a second look within the TTL asks nothing, and one beyond it lists again")
    func requestCounts() async throws {
        let fixture = try Fixture(keys)
        _ = try await fixture.names()
        _ = try await fixture.names()
        #expect(fixture.store.calls.count == 1)
        let expired = try Fixture(ttl: .zero, keys)
        _ = try await expired.names()
        _ = try await expired.names()
        #expect(expired.store.calls.count >= 2)
    }

    @Test("the first names of a huge directory cost a handful of requests")
    func head() async throws {
        let fixture = try Fixture((0..<300).map { "k\(1000 + $0)" })
        fixture.store.paginate(by: 10)
        let handle = try fixture.filesystem.openDirectory(Filesystem.rootInode)
        _ = try await fixture.page(handle, from: 0, room: 2)
        let given = try await fixture.page(handle, from: 2, room: 5)
        #expect(given.map(\.name) == (0..<5).map { "k\(1000 + $0)" })
        #expect(await eventually { fixture.store.calls.count >= 5 })
        #expect(fixture.store.calls.count <= 6)
    }

    @Test("an offset that was given is asked for again and gives the same entries", arguments: [1, 2, 100])
    func again(pageKeys: Int) async throws {
        let fixture = try Fixture(keys)
        fixture.store.paginate(by: pageKeys)
        let handle = try fixture.filesystem.openDirectory(Filesystem.rootInode)
        var all: [Fixture.Given] = []
        var offset: Int64 = 0
        while let next = try await fixture.page(handle, from: offset, room: 2).last {
            all += try await fixture.page(handle, from: offset, room: 2)
            offset = next.next
        }
        #expect(Set(all.map(\.name)) == expected.union([".", ".."]))
        #expect(all.map(\.next) == Array(1...Int64(all.count)))
        for index in all.indices.dropFirst().reversed() {
            let given = try await fixture.page(handle, from: Int64(index), room: 1)
            #expect(given == [all[index]])
        }
        #expect(try await fixture.page(handle, from: offset, room: 2).isEmpty)
        #expect(try await fixture.page(handle, from: offset + 1000, room: 2).isEmpty)
    }

    @Test("going back to the start is a new look")
    func rewind() async throws {
        let fixture = try Fixture(ttl: .zero, ["a"])
        let handle = try fixture.filesystem.openDirectory(Filesystem.rootInode)
        #expect(try await fixture.names(handle) == ["a"])
        fixture.store.put("b")
        #expect(try await fixture.names(handle) == ["a", "b"])
    }

    @Test("with attributes each entry that was taken counts as a lookup, and the one with no room does not")
    func lookupCounts() async throws {
        let fixture = try Fixture(keys)
        let handle = try fixture.filesystem.openDirectory(Filesystem.rootInode)
        #expect(try await fixture.page(handle, from: 2, room: 3, plus: true).count == 3)
        #expect(fixture.filesystem.inodes.count == 4)
        _ = try await fixture.page(handle, from: 2, room: 3, plus: false)
        #expect(fixture.filesystem.inodes.count == 4)
    }

    @Test("readers at once all see every name")
    func concurrentReaders() async throws {
        let keys = (0..<200).map { "k\(1000 + $0)" }
        let fixture = try Fixture(keys)
        fixture.store.paginate(by: 3)
        try await withThrowingTaskGroup(of: [String].self) { group in
            for room in 1...8 { group.addTask { try await fixture.names(room: room) } }
            for try await names in group { #expect(names == keys) }
        }
    }

    @Test("an object deleted since the last listing is gone from the next")
    func deleted() async throws {
        let fixture = try Fixture(ttl: .zero, keys)
        _ = try await fixture.names()
        fixture.store.remove(ObjectKey("c"))
        #expect(try await Set(fixture.names()) == expected.subtracting(["c"]))
    }

    @Test("a listing that fails is an error, and a new open of the directory lists again")
    func failing() async throws {
        let fixture = try Fixture(keys)
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        let error = await #expect(throws: FileError.self) { try await fixture.names() }
        #expect(error == .denied)
        fixture.store.script { _ throws(StoreError) in }
        #expect(try await Set(fixture.names()) == expected)
    }

    @Test("a reader that is interrupted while a page is on its way returns at once")
    func interrupted() async throws {
        let fixture = try Fixture(keys)
        let gate = Gate()
        fixture.store.script { _ throws(StoreError) in await gate.pass() }
        let reader = Task { try await fixture.names() }
        #expect(await eventually { gate.waiting == 1 })
        reader.cancel()
        let error = await #expect(throws: FileError.self) { try await reader.value }
        #expect(error == .interrupted)
        gate.open()
    }

    @Test("a reader that is interrupted while rows are read ahead for it goes on where it was")
    func interruptedAhead() async throws {
        let keys = (0..<60).map { "k\(1000 + $0)" }
        let fixture = try Fixture(keys)
        fixture.store.paginate(by: 3)
        let gate = Gate()
        fixture.store.script { [store = fixture.store] _ throws(StoreError) in
            if store.calls.count > 8 { await gate.pass() }
        }
        let handle = try fixture.filesystem.openDirectory(Filesystem.rootInode)
        let given = Names()
        let reader = Task { try await given.read(handle, of: fixture) }
        #expect(await eventually { gate.waiting == 1 && given.count >= 20 })
        reader.cancel()
        let error = await #expect(throws: FileError.self) { try await reader.value }
        #expect(error == .interrupted)
        gate.open()
        try await given.read(handle, of: fixture)
        #expect(given.all == keys)
    }

    /// What one reader was given, two at a time.
    private final class Names: Sendable {
        private let given = Mutex<[Fixture.Given]>([])
        var count: Int { given.withLock { $0.count } }
        var all: [String] { given.withLock { $0.map(\.name) } }

        func read(_ handle: UInt64, of fixture: Fixture) async throws {
            while true {
                let page = try await fixture.page(handle, from: given.withLock { $0.last?.next } ?? 2, room: 2)
                if page.isEmpty { return }
                given.withLock { $0 += page }
            }
        }
    }
}
