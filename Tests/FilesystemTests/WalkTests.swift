import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting

@testable import Filesystem

@Suite("walks through trees")
struct WalkTests {
    private func fixture(_ keys: [String], pageKeys: Int = 20) throws -> Fixture {
        let fixture = try Fixture(keys)
        fixture.store.paginate(by: pageKeys)
        return fixture
    }

    /// `top/` with so many directories of so many files.
    private func leaves(_ directories: Int, files: Int) -> [String] {
        (0..<directories).flatMap { directory in
            (0..<files).map { "top/d\(1000 + directory)/f\(1000 + $0)" }
        }
    }

    private func flat(_ fixture: Fixture) -> Int { fixture.store.lists.count { $0.delimiter == nil } }

    @Test("many directories cost as many requests as a listing of all their keys has pages, and a few")
    func requests() async throws {
        let keys = leaves(100, files: 7)
        let fixture = try fixture(keys)
        #expect(try await fixture.paths().files == keys)
        // The root and `top`, two directories before it is a walk, 35 pages of keys; of `top`, 5 pages, and a guess.
        #expect(fixture.store.calls.count <= 45)
    }

    @Test("of a deep tree with few files the same holds, once its levels were seen")
    func deep() async throws {
        var keys: [String] = []
        for number in 0..<1000 {
            keys.append("top/a\(number / 100)/b\(number / 10 % 10)/c\(number % 10)/f")
            keys.append("top/a\(number / 100)/b\(number / 10 % 10)/c\(number % 10)/g")
        }
        let fixture = try fixture(keys, pageKeys: 100)
        #expect(try await fixture.paths().files == keys)
        #expect(fixture.store.calls.count < 60)
    }

    @Test("every name is there that listings of each directory have", arguments: [1, 2, 3, 10, 1000], [1, 2, 3])
    func names(pageKeys: Int, seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let segments = ["a", "a-b", "a0", "b", "", "é", ".", "c", "%~x", "d"]
        let keys = (0..<150).map { _ in
            (0..<Int.random(in: 1...5, using: &generator)).map { _ in segments.randomElement(using: &generator) ?? "" }
                .joined(separator: "/")
        }.filter { !$0.isEmpty }
        let listed = try Fixture(ttl: .zero, keys)
        let expected = try await listed.paths()
        #expect(flat(listed) == 0)
        let walked = try fixture(keys, pageKeys: pageKeys)
        let found = try await walked.paths()
        #expect(found.files == expected.files)
        #expect(found.directories == expected.directories)
        #expect(flat(walked) > 0)
    }

    @Test("a second walk asks nothing while what is known is trusted")
    func again() async throws {
        let fixture = try fixture(leaves(30, files: 5))
        let first = try await fixture.paths()
        fixture.store.forgetCalls()
        let second = try await fixture.paths()
        #expect(second.files == first.files)
        #expect(fixture.store.calls.isEmpty)
    }

    @Test("a later walk does not see what is gone since, and sees what has come")
    func changes() async throws {
        let keys = leaves(30, files: 5)
        let first = try fixture(keys)
        #expect(try await first.paths().files == keys)
        let fixture = try Fixture([], in: first)
        var expected = keys
        for index in stride(from: 140, to: 0, by: -7) { fixture.store.remove(ObjectKey(expected.remove(at: index))) }
        // A whole directory too.
        for key in expected.filter({ $0.hasPrefix("top/d1020/") }) { fixture.store.remove(ObjectKey(key)) }
        expected.removeAll { $0.hasPrefix("top/d1020/") }
        fixture.store.put("top/d1011/new")
        expected = (expected + ["top/d1011/new"]).sorted()
        for directory in ["", "top/"] + Set(keys.map { String($0.prefix(10)) }) {
            try await fixture.writer.expire(directory: ObjectKey(directory), at: .now())
        }
        fixture.store.forgetCalls()
        let found = try await fixture.paths()
        #expect(found.files == expected)
        #expect(!found.directories.contains("top/d1020"))
        #expect(flat(fixture) > 0)
    }

    @Test("a name that was made or taken away here while a page was on its way stays so")
    func changesMeanwhile() async throws {
        let keys = leaves(30, files: 5)
        let fixture = try fixture(keys)
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in
            if case .list(let request) = call, request.delimiter == nil { await gate.pass() }
        }
        let walk = Task { try await fixture.paths() }
        #expect(await eventually { gate.waiting == 1 })
        let record = try #require(fixture.store.record(ObjectKey("top/d1003/f1001")))
        func remember(_ name: String, _ kind: MetadataRow.Kind, below prefix: String) async throws {
            let row = MetadataRow(segment: Array(name.utf8), kind: kind, checkedAt: .now())
            try await fixture.writer.record([row], below: ObjectKey(prefix), listing: 0)
        }
        try await remember("f1001", .absent, below: "top/d1003/")
        try await remember("made", .object(record), below: "top/d1003/")
        try await remember("made", .object(record), below: "top/d1004/")
        gate.open()
        let files = try await walk.value.files
        #expect(files == (keys.filter { $0 != "top/d1003/f1001" } + ["top/d1003/made", "top/d1004/made"]).sorted())
    }

    @Test("what was asked for before a refresh does not count after it")
    func refreshed() async throws {
        let keys = leaves(30, files: 5)
        let fixture = try fixture(keys)
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in
            if case .list(let request) = call, request.delimiter == nil { await gate.pass() }
        }
        let walk = Task { try await fixture.paths() }
        #expect(await eventually { gate.waiting == 1 })
        try await fixture.writer.expire(directory: ObjectKey("top/d1004/"), at: .now())
        gate.open()
        #expect(try await walk.value.files == keys)
        #expect(fixture.store.lists.contains { $0.startAfter == ObjectKey("top/d1004/").predecessorOfDirectory })
    }

    @Test("whoever reads directories and goes down none of them costs a few requests more", arguments: [1, 3, 11])
    func pruned(step: Int) async throws {
        let keys = (0..<30).flatMap { top in (0..<60).map { "top/d\(100 + top)/\(100 + $0 / 3)/f\($0 % 3)" } }
        let fixture = try fixture(keys, pageKeys: 10)
        let top = try #require(try await fixture.lookup("top"))
        _ = try await fixture.names(of: top.inode)
        fixture.store.forgetCalls()
        var wanted = 0
        for number in stride(from: 0, to: 30, by: step) {
            let child = try #require(try await fixture.lookup("d\(100 + number)", in: top.inode))
            #expect(try await fixture.names(of: child.inode).count == 20)
            wanted += 2
        }
        #expect(fixture.store.calls.count <= wanted + 8)
    }

    @Test("a directory of many files among small ones gives its first at once")
    func long() async throws {
        let keys = leaves(8, files: 3) + (0..<400).map { "top/d1004/g\(1000 + $0)" }
        let fixture = try fixture(keys, pageKeys: 10)
        let top = try #require(try await fixture.lookup("top"))
        _ = try await fixture.names(of: top.inode)
        for number in 0..<4 {
            let child = try #require(try await fixture.lookup("d\(1000 + number)", in: top.inode))
            #expect(try await fixture.names(of: child.inode).count == 3)
        }
        let long = try #require(try await fixture.lookup("d1004", in: top.inode))
        let handle = try fixture.filesystem.openDirectory(long.inode)
        fixture.store.forgetCalls()
        #expect(try await fixture.page(handle, from: 2, room: 5).count == 5)
        #expect(fixture.store.calls.count <= 8)
        #expect(try await fixture.paths().files == keys.sorted())
    }

    @Test("files beside the directories are passed by")
    func filesBeside() async throws {
        let keys = leaves(12, files: 2) + (0..<12).flatMap { top in (0..<50).map { "top/d\(1000 + top)-\(100 + $0)" } }
        let fixture = try fixture(keys, pageKeys: 10)
        #expect(try await fixture.paths().files == keys.sorted())
        #expect(fixture.store.calls.count <= 88)
    }

    @Test("a store that lists no trees is asked for each directory")
    func refused() async throws {
        let keys = leaves(20, files: 3)
        let fixture = try fixture(keys)
        fixture.store.script { call throws(StoreError) in
            if case .list(let request) = call, request.delimiter == nil {
                throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
            }
        }
        #expect(try await fixture.paths().files == keys)
        #expect(flat(fixture) <= 2)
    }

    @Test("a walker that is interrupted while a page is on its way returns at once")
    func interrupted() async throws {
        let fixture = try fixture(leaves(20, files: 3))
        let gate = Gate()
        fixture.store.script { call throws(StoreError) in
            if case .list(let request) = call, request.delimiter == nil { await gate.pass() }
        }
        let walk = Task { try await fixture.paths() }
        #expect(await eventually { gate.waiting == 1 })
        walk.cancel()
        let error = await #expect(throws: FileError.self) { try await walk.value }
        #expect(error == .interrupted)
        gate.open()
    }

    @Test("walkers at once all see every name")
    func concurrent() async throws {
        let keys = leaves(40, files: 6)
        let fixture = try fixture(keys, pageKeys: 9)
        try await withThrowingTaskGroup(of: [String].self) { group in
            for _ in 0..<6 { group.addTask { try await fixture.paths().files } }
            for try await files in group { #expect(files == keys) }
        }
    }

    @Test("with a TTL that is over before a walker comes, nothing is listed ahead of him")
    func shortTTL() async throws {
        let keys = leaves(20, files: 3)
        let fixture = try Fixture(ttl: .seconds(1), keys)
        #expect(try await fixture.paths().files == keys)
        #expect(flat(fixture) == 0)
    }
}

extension Fixture {
    /// All there is, found as `find` does: a directory is read to its end before the first of those in it is.
    func paths(_ inode: UInt64 = Filesystem.rootInode, _ path: String = "") async throws
        -> (files: [String], directories: [String])
    {
        let handle = try filesystem.openDirectory(inode)
        defer { filesystem.closeDirectory(handle) }
        var entries: [Given] = []
        var offset: Int64 = 2
        while true {
            let given = try await page(handle, from: offset, room: 50, plus: true)
            guard let last = given.last else { break }
            entries += given
            offset = last.next
        }
        var (files, directories): ([String], [String]) = ([], [])
        for entry in entries {
            guard filesystem.inodes[entry.inode]?.directory != nil else {
                files.append(path + entry.name)
                continue
            }
            directories.append(path + entry.name)
            let below = try await paths(entry.inode, path + entry.name + "/")
            files += below.files
            directories += below.directories
        }
        return (path.isEmpty ? files.sorted() : files, path.isEmpty ? directories.sorted() : directories)
    }
}
