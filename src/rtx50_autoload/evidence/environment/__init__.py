"""What surrounds the GPU code: driver, CUDA libraries, toolkit, variables, versions, Python, the machine.

`examination` looks at all of it; it is not imported here, because what knows builds and libraries is also needed where
an error has to be explained quickly.
"""
