"""The tests, one folder a floor: unit, contracts, server, acceptance; clients and drills are shared tools."""
