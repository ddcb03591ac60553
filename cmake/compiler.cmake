# Flags for our own targets only: warnings, sanitizers. minicpmo_room(name SOURCES ... LINKS ...) declares one room.
add_library(minicpmo_flags INTERFACE)
target_include_directories(minicpmo_flags INTERFACE ${PROJECT_SOURCE_DIR}/csrc)
if(MSVC)
  target_compile_options(minicpmo_flags INTERFACE /W4 /utf-8 $<$<BOOL:${MINICPMO_WERROR}>:/WX>)
else()
  target_compile_options(minicpmo_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                                  $<$<BOOL:${MINICPMO_WERROR}>:-Werror>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(minicpmo_flags INTERFACE -Wno-restrict) # false positives on std::string in GCC 12 (PR105651)
  endif()
endif()
if(MINICPMO_SANITIZE)
  target_compile_options(minicpmo_flags INTERFACE -fsanitize=${MINICPMO_SANITIZE} -fno-omit-frame-pointer
                                                  -fno-sanitize-recover=undefined)
  target_link_options(minicpmo_flags INTERFACE -fsanitize=${MINICPMO_SANITIZE})
endif()

# One room is one static library; LINKS lists the rooms below it, so that CMake knows the layer rule too.
function(minicpmo_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINKS" ${ARGN})
  add_library(minicpmo_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(minicpmo_${name} PUBLIC minicpmo_flags ${ROOM_LINKS})
endfunction()
