import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting

@testable import Filesystem

@Suite("looking up names")
struct LookupTests {
    @Test("one listing tells of a file, a directory or their absence, a HEAD of a file's attributes, and within the TTL no other request is sent")
    func oneRequest() async throws {
        for (name, expected) in [("file", "file"), ("dir", "dir/"), ("none", nil)] as [(String, String?)] {
            let fixture = try Fixture("file", "dir/a", "other")
            #expect(try await fixture.key(name) == expected)
            #expect(fixture.store.lists.count == 1)
            #expect(fixture.store.heads == (name == "file" ? 1 : 0))
            #expect(try await fixture.key(name) == expected)
            #expect(fixture.store.calls.count == (name == "file" ? 2 : 1))
        }
    }

    @Test("from the second name on a page is listed, and what it covers needs no listing, and HEADs for the first few only")
    func listedOnSecond() async throws {
        let fixture = try Fixture((0..<50).map { "f\($0)" })
        for index in 0..<50 { #expect(try await fixture.key("f\(index)") == "f\(index)") }
        #expect(try await fixture.key("none") == nil)
        #expect(fixture.store.lists.count == 2)
        #expect(fixture.store.heads == 16)
    }

    @Test("beyond the TTL the store is asked again, and a name that has come is found")
    func ttl() async throws {
        let fixture = try Fixture(ttl: .zero, "a")
        #expect(try await fixture.key("b") == nil)
        fixture.store.put("b")
        #expect(try await fixture.key("b") == "b")
        fixture.store.remove(ObjectKey("b"))
        #expect(try await fixture.key("b") == nil)
    }

    @Test("an absent name stays absent within the TTL")
    func negative() async throws {
        let fixture = try Fixture("a")
        #expect(try await fixture.key("b") == nil)
        fixture.store.put("b")
        #expect(try await fixture.key("b") == nil)
        #expect(fixture.store.calls.count == 1)
    }

    @Test("a refreshed file is asked for although a listing of its directory is fresh")
    func refreshed() async throws {
        let fixture = try Fixture("a", "b")
        #expect(try await fixture.names() == ["a", "b"])
        let node = try #require(try await fixture.lookup("a"))
        try await fixture.filesystem.setAttribute(node.inode, .refresh, value: [], caller: .unknown)
        fixture.store.forgetCalls()
        #expect(try await fixture.key("a") == "a")
        #expect(fixture.store.calls.count == 1)
        try await fixture.filesystem.setAttribute(node.inode, .refresh, value: [], caller: .unknown)
        fixture.store.remove(ObjectKey("a"))
        #expect(try await fixture.key("a") == nil)
    }

    @Test("an object beside a directory of its name has the escaped one, and a key of that name a third")
    func shadowing() async throws {
        let keys = ["a", "a/b", "a-b", "a0", "%=a", "%~a"]
        for isListed in [false, true] {
            let fixture = try Fixture(keys)
            if isListed { _ = try await fixture.names(plus: true) }
            #expect(try await fixture.key("a") == "a/")
            #expect(try await fixture.key("%=a") == "a")
            #expect(try await fixture.key("%~%25=a") == "%=a")
            #expect(try await fixture.key("%~%25~a") == "%~a")
            #expect(try await fixture.key("%~a") == nil)
            #expect(try await fixture.key("%=a-b") == nil)
            #expect(try await fixture.key("a", "b") == "a/b")
        }
    }

    @Test("a directory is found past the many names between `name` and `name/`")
    func farDirectory() async throws {
        let fixture = try Fixture((0..<150).map { "a-\($0)" } + ["a/x", "a"])
        #expect(try await fixture.key("a") == "a/")
        #expect(fixture.store.calls.count == 2)
        #expect(try await fixture.key("%=a") == "a")
    }

    @Test("names that no path can have are found under theirs")
    func awkward() async throws {
        let long = String(repeating: "x", count: 300)
        let fixture = try Fixture("//x", "./y", "../z", long, "\0")
        let names = try await fixture.names()
        #expect(names.count == 5)
        #expect(try await fixture.key("%~") == "/")
        #expect(try await fixture.key("%~", "%~", "x") == "//x")
        #expect(try await fixture.key("%~.") == "./")
        #expect(try await fixture.key("%~..", "z") == "../z")
        #expect(try await fixture.key("%~%00") == #"\x00"#)
        let name = try #require(names.first { $0.contains("%#") })
        #expect(try await fixture.key(name) == long)
    }

    @Test("a failing store is an error and not an absence, and is not remembered")
    func failing() async throws {
        let fixture = try Fixture("a")
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        let error = await #expect(throws: FileError.self) {
            try await fixture.filesystem.lookup(parent: 1, name: [0x61])
        }
        #expect(error == .denied)
        fixture.store.script { _ throws(StoreError) in }
        #expect(try await fixture.key("a") == "a")
    }

    /// Of a directory that is being walked: nothing is asked of single names there.
    private func atHand(_ name: String, _ fixture: Fixture) -> LookedUp? {
        fixture.filesystem.root.isWalked()
        return Array(name.utf8).withUnsafeBytes { fixture.filesystem.lookupAtHand(parent: 1, name: $0) }
    }

    private func isUnknown(_ name: String, _ fixture: Fixture) -> Bool {
        if case nil = atHand(name, fixture) { true } else { false }
    }

    @Test("what a listing has settled is at hand, also what is not there; the rest is not")
    func settled() async throws {
        let fixture = try Fixture("a", "b/c", "d", "d/e", "//x")
        #expect(isUnknown("a", fixture) && isUnknown("z", fixture))
        _ = try await fixture.names()
        guard case .found(let file) = atHand("a", fixture), case .found(let directory) = atHand("b", fixture) else {
            Issue.record("neither is at hand")
            return
        }
        #expect(file.kind == .file && file.sizeBytes == 1 && directory.kind == .directory)
        #expect(fixture.filesystem.inodes[file.inode]?.lookups == 1)
        guard case .found(let both) = atHand("d", fixture) else {
            Issue.record("a directory that is a file too is not at hand")
            return
        }
        #expect(both.kind == .directory)
        guard case .absent = atHand("z", fixture) else {
            Issue.record("what is not there is not at hand")
            return
        }
        // Names that are no segments, and what a refresh wants asked.
        #expect(isUnknown("%=d", fixture) && isUnknown(".versions", fixture))
        try await fixture.writer.expire(Array("a".utf8), below: .empty)
        fixture.filesystem.inodes.update(file.inode) { $0.checkedAt = .epoch }
        #expect(isUnknown("a", fixture))
    }

    @Test("so is what a listing under way has passed, and nothing beyond")
    func passed() async throws {
        let fixture = try Fixture((0..<400).map { "k\(1000 + $0)" })
        fixture.store.paginate(by: 7)
        let handle = try fixture.filesystem.openDirectory(Filesystem.rootInode)
        _ = try await fixture.page(handle, from: 2, room: 5)
        guard case .found = atHand("k1000", fixture), case .absent = atHand("k0", fixture) else {
            Issue.record("what was listed is not at hand")
            return
        }
        #expect(isUnknown("k1399", fixture) && isUnknown("z", fixture))
    }

    @Test("an inode that is out of date is at hand again with its row")
    func renewed() async throws {
        let fixture = try Fixture("a")
        _ = try await fixture.names()
        let node = try #require(try await fixture.lookup("a"))
        fixture.filesystem.inodes.update(node.inode) { $0.checkedAt = .epoch }
        let calls = fixture.store.calls.count
        #expect(fixture.filesystem.nodeAtHand(node.inode)?.sizeBytes == 1)
        #expect(fixture.store.calls.count == calls)
    }

    @Test("lookups are taken back by forget, and the inode with the last of them")
    func forget() async throws {
        let fixture = try Fixture("a")
        let node = try #require(try await fixture.lookup("a"))
        _ = try await fixture.lookup("a")
        #expect(fixture.filesystem.inodes[node.inode]?.lookups == 2)
        fixture.filesystem.forget(node.inode, count: 1)
        #expect(fixture.filesystem.inodes.count == 2)
        fixture.filesystem.forget(node.inode, count: 1)
        #expect(fixture.filesystem.inodes.count == 1)
        fixture.filesystem.forget(Filesystem.rootInode, count: 1000)
        #expect(fixture.filesystem.inodes.count == 1)
    }

    @Test("names looked up while a listing goes on are never absent by mistake")
    func duringListing() async throws {
        let keys = (0..<400).map { "k\(1000 + $0)" }
        let fixture = try Fixture(keys)
        fixture.store.paginate(by: 7)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask { try await fixture.names() == keys }
            for key in keys { group.addTask { try await fixture.key(key) == key } }
            for try await isRight in group { #expect(isRight) }
        }
    }
}
