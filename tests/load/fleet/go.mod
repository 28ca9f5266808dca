module keywright.example/fleet

go 1.25
