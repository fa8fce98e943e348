import Content
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Filesystem

@Suite("versions as files")
struct VersionsTests {
    /// A bucket with versions: each put is `v1`, `v2`, ...; nil deletes.
    private func fixture(
        ttl: Duration? = .seconds(3600), _ puts: (key: String, content: String?)...
    ) throws -> Fixture {
        let fixture = try Fixture(ttl: ttl, [])
        fixture.store.keepVersions()
        for (key, content) in puts {
            if let content { fixture.store.put(key, Array(content.utf8)) } else { fixture.store.remove(ObjectKey(key)) }
        }
        return fixture
    }

    private func inode(_ fixture: Fixture, _ path: String) async throws -> UInt64 {
        var inode = Filesystem.rootInode
        for name in path.split(separator: "/") {
            inode = try #require(try await fixture.lookup(String(name), in: inode), "\(name) of \(path)").inode
        }
        return inode
    }

    private func names(_ fixture: Fixture, _ path: String, plus: Bool = false) async throws -> [String] {
        try await fixture.names(of: try await inode(fixture, path), plus: plus)
    }

    private func command(_ fixture: Fixture, _ path: String, _ name: ThawAttribute) async throws {
        let number = try await inode(fixture, path)
        try await fixture.filesystem.setAttribute(number, name, value: [], caller: .unknown)
    }

    private func content(_ fixture: Fixture, _ path: String) async throws -> String {
        let opened = try await fixture.filesystem.open(try await inode(fixture, path), caller: .unknown)
        defer { fixture.filesystem.close(opened.handle) }
        let bytes = try await fixture.filesystem.read(opened.handle, offset: 0, sizeBytes: 1000, caller: .unknown)
        return String(decoding: bytes.withPieces { $0.flatMap { Array($0) } }, as: UTF8.self)
    }

    private func attribute(_ fixture: Fixture, _ path: String, _ name: ThawAttribute) async throws -> String {
        String(decoding: try await fixture.filesystem.attribute(try await inode(fixture, path), name), as: UTF8.self)
    }

    @Test("every directory has one, found without asking the store and shown to nobody")
    func hidden() async throws {
        let fixture = try fixture(("a", "1"), ("d/b", "2"))
        #expect(try await fixture.lookup(".versions")?.isDirectory == true)
        #expect(fixture.store.calls.isEmpty)
        #expect(try await fixture.names() == ["a", "d"])
        #expect(try await names(fixture, "d") == ["b"])
        #expect(try await fixture.key("d", ".versions") == "d/")
        #expect(try await names(fixture, ".versions") == ["a", "d"])
        #expect(try await fixture.key(".versions", ".versions") == nil)
    }

    @Test("each version is a file with its own content, size and id; delete markers are none")
    func files() async throws {
        let fixture = try fixture(("a", "one"), ("a", "three"), ("a", nil), ("a", "4"), ("ab", "x"), ("a/b", "y"))
        for plus in [false, true] {
            #expect(try await names(fixture, ".versions/%=a", plus: plus) == ["v4", "v2", "v1"])
        }
        for (version, text) in [("v1", "one"), ("v2", "three"), ("v4", "4")] {
            let path = ".versions/%=a/" + version
            #expect(try await content(fixture, path) == text)
            let node = try #require(fixture.filesystem.nodeAtHand(try await inode(fixture, path)))
            #expect(node.sizeBytes == UInt64(text.utf8.count))
            #expect(!node.isDirectory)
            #expect(try await attribute(fixture, path, .versionID) == version)
            #expect(try await attribute(fixture, path, .key) == "a")
        }
        #expect(try await content(fixture, "%=a") == "4")
    }

    @Test("deleted files, and those of deleted directories, are reached; what has no version but delete markers is not shown")
    func deleted() async throws {
        let fixture = try fixture(
            ("d/e/f", "old"), ("d/e/f", nil), ("d/e/g", nil), ("k", "here"), ("x", "gone"), ("x", nil))
        #expect(try await fixture.names() == ["k"])
        #expect(try await names(fixture, ".versions") == ["d", "k", "x"])
        #expect(try await names(fixture, ".versions/d") == ["e"])
        #expect(try await names(fixture, ".versions/d/e") == ["f"])
        #expect(try await content(fixture, ".versions/d/e/f/v1") == "old")
        #expect(try await content(fixture, ".versions/x/v5") == "gone")
        #expect(try await fixture.key(".versions", "d", "e", "g") == nil)
    }

    @Test("lookups without a listing find the same names, with one request each, and no others")
    func lookups() async throws {
        let fixture = try fixture(
            ("a", "1"), ("a", nil), ("a/b", "2"), ("a-b", "3"), ("//x", "4"), (".versions", "5"), (".versions/y", "6"))
        let found: [(path: [String], key: String)] = [
            ([".versions", "a"], "a/"), ([".versions", "%=a"], "a"), ([".versions", "a-b"], "a-b"),
            ([".versions", "%~"], "/"), ([".versions", "%~", "%~", "x"], "//x"), ([".versions", "%=a", "v1"], "a"),
            (["%=.versions"], ".versions"), (["%~.versions"], ".versions/"), (["%~.versions", "y"], ".versions/y"),
            ([".versions", "%=.versions", "v6"], ".versions"), ([".versions", "%~.versions", "y", "v7"], ".versions/y"),
        ]
        for (path, key) in found {
            var inode = Filesystem.rootInode
            for name in path {
                fixture.store.forgetCalls()
                inode = try #require(try await fixture.lookup(name, in: inode), "\(name) of \(path)").inode
                #expect(fixture.store.calls.count - fixture.store.heads <= 1)
            }
            #expect(try await fixture.key(path[0]) != nil)
            let known = try #require(fixture.filesystem.inodes[inode])
            #expect((known.directory?.prefix ?? known.key) == ObjectKey(key))
        }
        for path in [
            [".versions", "none"], [".versions", "%~a"], [".versions", "%=a-b"], [".versions", "a-"],
            [".versions", "%=a", "v2"], [".versions", "%=a", "v99"], [".versions", "%=a", "%~v1"],
            [".versions", "%~a%2Fb"], ["%~a%2Fb"],
        ] {
            var inode: UInt64? = Filesystem.rootInode
            for name in path { if let parent = inode { inode = try await fixture.lookup(name, in: parent)?.inode } }
            #expect(inode == nil, "\(path)")
        }
    }

    @Test("a directory is found past many versions of its name, and past the many names in between")
    func farDirectory() async throws {
        let fixture = try fixture()
        for index in 0..<150 { fixture.store.put("a", [UInt8(index)]) }
        for index in 0..<150 { fixture.store.put("b-\(index)") }
        for key in ["a/x", "b", "b/x"] { fixture.store.put(key) }
        #expect(try await fixture.key(".versions", "a") == "a/")
        #expect(try await fixture.key(".versions", "b") == "b/")
        #expect(try await fixture.key(".versions", "%=b") == "b")
        for _ in 0..<150 { fixture.store.remove(ObjectKey("b")) }
        #expect(try await fixture.key(".versions", "%=b") == "b")
    }

    @Test("listings go over pages, which may end anywhere")
    func pages() async throws {
        let fixture = try fixture()
        for _ in 0..<5 { for key in ["a", "a-b", "a/x", "b", "c/y"] { fixture.store.put(key) } }
        for room in [1, 2, 3, 7] {
            fixture.store.paginate(by: room)
            #expect(Set(try await names(fixture, ".versions")) == ["a", "%=a", "a-b", "b", "c"])
            #expect(try await names(fixture, ".versions").count == 5)
            #expect(try await names(fixture, ".versions/%=a") == ["v21", "v16", "v11", "v6", "v1"])
        }
    }

    @Test("version ids that are no file names have escaped ones")
    func awkwardIDs() async throws {
        let fixture = try fixture()
        let long = String(repeating: "x/", count: 300)
        let ids = ["a/b", "a", "..", "/", long, ".versions", "%~a"]
        for id in ids { fixture.store.put(ObjectKey("k"), Array(id.utf8), version: id) }
        let names = try await names(fixture, ".versions/k")
        #expect(Set(names).count == ids.count)
        #expect(names.allSatisfy { !$0.contains("/") && $0.utf8.count <= 255 })
        let fresh = try Fixture([])
        fresh.store.keepVersions()
        for id in ids { fresh.store.put(ObjectKey("k"), Array(id.utf8), version: id) }
        for (name, id) in zip(names, ids.reversed()) {
            for fixture in [fixture, fresh] {
                #expect(try await content(fixture, ".versions/k/" + name) == id)
                #expect(try await attribute(fixture, ".versions/k/" + name, .versionID) == id)
            }
        }
    }

    @Test("an empty marker has no versions to see, one with content has, and a bucket without versions has `null`")
    func markersAndNull() async throws {
        let fixture = try Fixture("d/x")
        fixture.store.put("d/")
        #expect(try await names(fixture, ".versions/d") == ["x"])
        #expect(try await fixture.key("d", ".versions", "%~") == nil)
        #expect(try await names(fixture, ".versions/d/x") == ["null"])
        #expect(try await content(fixture, "d/.versions/x/null") == "d/x")
        fixture.store.put("d/", [1])
        #expect(try await names(fixture, ".versions/d") == ["%~", "x"])
        #expect(try await fixture.key("d", ".versions", "%~") == "d/")
    }

    @Test("attributes are trusted for the TTL, then the version is asked for, and not the object")
    func freshness() async throws {
        let fixture = try fixture(ttl: .zero, ("a", "one"), ("a", "three"))
        let number = try await inode(fixture, ".versions/a/v1")
        fixture.store.change(ObjectKey("a"), version: "v1") { $0.storageClass = StorageClass("IA") }
        #expect(fixture.filesystem.nodeAtHand(number) == nil)
        #expect(try await fixture.filesystem.attributes(number).sizeBytes == 3)
        #expect(try await attribute(fixture, ".versions/a/v1", .storageClass) == "IA")
        #expect(try await attribute(fixture, "a", .storageClass) == "Standard")
        let known = try self.fixture(("a", "one"), ("a", "three"))
        _ = try await names(known, ".versions/a", plus: true)
        known.store.forgetCalls()
        #expect(try await attribute(known, ".versions/a/v1", .etag) == "\"1\"")
        #expect(known.store.calls.allSatisfy { if case .listVersions = $0 { true } else { false } })
    }

    @Test("what a listing named needs no other request, unless it was refreshed; what it did not name is asked for")
    func seen() async throws {
        let fixture = try fixture(("a", "1"), ("a", "2"), ("b/x", "3"), ("c", "4"), ("c/y", "5"))
        let (versions, object) = (try await inode(fixture, ".versions"), try await inode(fixture, ".versions/a"))
        #expect(Set(try await fixture.names(of: versions)) == ["a", "b", "c", "%=c"])
        #expect(try await fixture.names(of: object) == ["v2", "v1"])
        fixture.store.forgetCalls()
        for path in [".versions/a/v1", ".versions/a/v2", ".versions/b", ".versions/c", ".versions/%=c"] {
            _ = try await inode(fixture, path)
        }
        #expect(fixture.store.calls.isEmpty)
        fixture.store.put("a", [6])
        fixture.store.put("d", [7])
        #expect(try await content(fixture, ".versions/a/v6") == "\u{6}")
        #expect(try await fixture.key(".versions", "d") == "d")
        try await command(fixture, ".versions/a/v1", .refresh)
        fixture.store.change(ObjectKey("a"), version: "v1") { $0.storageClass = StorageClass("IA") }
        #expect(try await attribute(fixture, ".versions/a/v1", .storageClass) == "IA")
    }

    @Test("a restore is of the version, and what is learned of it shows wherever it is seen, and on no other")
    func restores() async throws {
        let fixture = try fixture()
        for _ in 0..<2 { fixture.store.put("d/f", [1, 2, 3], class: "Archive") }
        let paths = [".versions/d/f/v1", "d/.versions/f/v1", ".versions/d/f/v2", "d/f"]
        for path in paths { #expect(try await attribute(fixture, path, .restoreStatus) == "frozen") }
        try await command(fixture, paths[0], .restore)
        #expect(fixture.store.restoredVersions == ["v1"])
        for path in paths {
            let isRestored = path.hasSuffix("v1")
            #expect(try await attribute(fixture, path, .restoreStatus) == (isRestored ? "restoring" : "frozen"))
        }
        fixture.store.change(ObjectKey("d/f"), version: "v1") { $0.restore = .restored(until: nil) }
        try await command(fixture, paths[1], .refresh)
        let filesystem = fixture.filesystem
        let number = try await inode(fixture, paths[0])
        #expect(await eventually { filesystem.inodes[number]?.record?.restore == .restored(until: nil) })
        #expect(try await content(fixture, paths[0]) == "\u{1}\u{2}\u{3}")
        #expect(try await attribute(fixture, paths[1], .restoreStatus) == "restored")
        for path in paths[2...] { #expect(try await attribute(fixture, path, .restoreStatus) == "frozen") }
    }

    @Test("directories of versions are restored neither whole nor by mistake as the objects beside them")
    func noTrees() async throws {
        let fixture = try fixture(("a", "one"), ("d/b", "two"))
        for path in [".versions", ".versions/a", ".versions/d"] {
            let number = try await inode(fixture, path)
            await #expect(throws: FileError.unsupported) { try await command(fixture, path, .restore) }
            await #expect(throws: FileError.unsupported) {
                try await fixture.filesystem.removeAttribute(number, .restore, caller: .unknown)
            }
            await #expect(throws: FileError.noSuchAttribute) {
                try await fixture.filesystem.attribute(number, .restore)
            }
        }
        #expect(fixture.store.restoredVersions.isEmpty)
    }

    @Test("a refresh of a directory of versions forgets what is known of the files in it")
    func refresh() async throws {
        let fixture = try fixture(("a", "one"))
        let number = try await inode(fixture, ".versions/a/v1")
        try await command(fixture, ".versions/a", .refresh)
        #expect(fixture.filesystem.nodeAtHand(number) == nil)
        fixture.store.change(ObjectKey("a"), version: "v1") { $0.storageClass = StorageClass("IA") }
        #expect(try await attribute(fixture, ".versions/a/v1", .storageClass) == "IA")
    }

    @Test("a store that fails is an error and not an absence")
    func failing() async throws {
        let fixture = try fixture(("a", "one"))
        let (versions, object) = (try await inode(fixture, ".versions"), try await inode(fixture, ".versions/a"))
        fixture.store.script { _ throws(StoreError) in
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        for (parent, name) in [(versions, "a"), (object, "v1")] {
            let error = await #expect(throws: FileError.self) {
                try await fixture.filesystem.lookup(parent: parent, name: Array(name.utf8))
            }
            #expect(error == .denied)
        }
        for directory in [versions, object] {
            let error = await #expect(throws: FileError.self) { try await fixture.names(of: directory) }
            #expect(error == .denied)
        }
    }
}
