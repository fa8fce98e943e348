import Foundation
import Metadata
import Testing
import ThawTesting

private func inode(_ number: UInt64, _ name: String = "n", lookups: UInt64 = 1, etag: String = "") -> IdleInode {
    IdleInode(
        number: number, home: 1, segment: Array(name.utf8), isPlainlyNamed: true, isKnownRegular: !etag.isEmpty,
        openedETag: etag, lookups: lookups)
}

@Suite("inodes on disk")
struct IdleInodesTests {
    let directory: TemporaryDirectory
    let idle: IdleInodes

    init() throws {
        directory = try TemporaryDirectory()
        idle = try IdleInodes(in: directory.path)
    }

    @Test("one is as it was, once, whatever its number and its name")
    func taken() throws {
        let odd = IdleInode(
            number: .max, home: .max - 1, segment: [0, 0xFF, 0x0A], isPlainlyNamed: false, isKnownRegular: false,
            openedETag: "e", lookups: 7)
        try idle.add([inode(2), odd, inode(1 << 63)])
        #expect(try idle.take(.max) == odd)
        #expect(try idle.take(.max) == nil)
        #expect(try idle.take(1 << 63) == inode(1 << 63))
        #expect(try idle.take(3) == nil)
        #expect(try idle.page(after: nil, limit: 10) == [inode(2)])
    }

    @Test("lookups of one that comes again are added; it has the later name, and the version that was opened last")
    func merged() throws {
        try idle.add([inode(2, "old", lookups: 2, etag: "e1")])
        try idle.add([inode(2, "new", lookups: 3)])
        #expect(try idle.take(2) == inode(2, "new", lookups: 5, etag: "e1"))
        try idle.add([inode(2, etag: "e1")])
        try idle.add([inode(2)])
        try idle.add([inode(3, etag: "e1")])
        try idle.add([inode(3, etag: "e2")])
        #expect(try idle.take(2)?.isKnownRegular == true)
        #expect(try idle.take(3)?.openedETag == "e2")
    }

    @Test("lookups are taken back, and those that are not here are answered")
    func released() throws {
        try idle.add([inode(2, lookups: 5), inode(3, lookups: 5), inode(4, lookups: 5)])
        let elsewhere = try idle.release(
            [(2, 4), (3, 5), (4, 7), (5, 1)].map { ForgottenLookups(number: $0, count: $1) })
        #expect(elsewhere == [ForgottenLookups(number: 4, count: 2), ForgottenLookups(number: 5, count: 1)])
        #expect(try idle.page(after: nil, limit: 10) == [inode(2, lookups: 1)])
    }

    @Test("all are told of, each once, page by page")
    func paged() throws {
        let numbers = [0, 1, 1 << 63, (1 << 63) - 1, .max] as [UInt64]
        try idle.add(numbers.map { inode($0) })
        var seen: [UInt64] = []
        var last: IdleInode?
        repeat {
            let page = try idle.page(after: last, limit: 2)
            seen += page.map(\.number)
            last = page.last
        } while last != nil
        #expect(seen.sorted() == numbers.sorted())
    }

    @Test("the file has no name, and one that was left is no hindrance")
    func unnamed() throws {
        let path = directory.path + "/inodes.sqlite"
        #expect(!FileManager.default.fileExists(atPath: path))
        try Data("no database".utf8).write(to: URL(filePath: path))
        let other = try IdleInodes(in: directory.path)
        try other.add([inode(2)])
        #expect(try other.take(2) == inode(2))
        #expect(!FileManager.default.fileExists(atPath: path))
    }
}
